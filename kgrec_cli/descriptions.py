"""What each setting means, said once: for the docs, `--help` and the starter `kgrec.yaml`.

Keys of a block are `block.key`. The first sentence stands alone in `kgrec.yaml`. The texts are
apart from `settings`, because `kgrec --help` would take 1.6 times as long with pydantic.
"""

RECBOLE = {
    "dataset": "Name of the data set. Default: the only one under data_path.",
    "data_path": "Folder of the data sets.",
    "checkpoint_dir": "Folder of the runs.",
    "seed": "Random seed.",
    "enable_amp": "On CUDA, computes the scores of all items in training in bfloat16.",
    "allow_tf32": "On CUDA, lets matrix products round their factors to TF32 (ten bits).",
    "field_separator": "Separator of the columns in atomic files.",
    "seq_separator": "Separator of the values within a column of sequences.",
    "USER_ID_FIELD": "Column of users.",
    "ITEM_ID_FIELD": "Column of items.",
    "RATING_FIELD": "Column of ratings. Not used: val_interval names its columns itself.",
    "TIME_FIELD": "Column of timestamps. null: the order of the rows is the order in time.",
    "HEAD_ENTITY_ID_FIELD": "Column of head entities in the .kg file.",
    "TAIL_ENTITY_ID_FIELD": "Column of tail entities in the .kg file.",
    "RELATION_ID_FIELD": "Column of relations in the .kg file.",
    "ENTITY_ID_FIELD": "Column of entities in the .link file.",
    "load_col": "Columns that must exist, by file suffix, such as {inter: [user_id, item_id]}. "
    "Which ones are read is kgrec's choice.",
    "unload_col": "Columns that RecBole skips, by file suffix. They must exist.",
    "additional_feat_suffix": "Suffixes of the feature files; each file is a further input of the "
    "model. null: ent_feature, or ent if only that exists.",
    "preload_weight": "The id column and the vector column of each feature file, such as "
    "{ent_id: ent_vec}. null: recognised by their types.",
    "alias_of_entity_id": "Id columns of feature files that hold entities.",
    "alias_of_item_id": "Id columns of feature files that hold items.",
    "alias_of_user_id": "Id columns of feature files that hold users. The model reads no users: "
    "such a file is left out, with a message.",
    "alias_of_relation_id": "Id columns of feature files that hold relations. The model reads no "
    "relations: such a file is left out, with a message.",
    "val_interval": "Keeps rows of .inter, .user or .item with numbers in an interval or tokens of "
    "a list, such as {rating: '[4,inf)', gender: [F]}.",
    "filter_inter_by_user_or_item": "Drops interactions of users and items that the .user or .item "
    "file does not have, or no longer after val_interval. null: as val_interval needs it, and with "
    "recbole_compat.",
    "user_inter_num_interval": "Keeps users with that many interactions, such as '[5,inf)'.",
    "item_inter_num_interval": "Keeps items with that many interactions, such as '[5,inf)'.",
    "rm_dup_inter": "Of several interactions of a user with an item, keeps the first or the last.",
    "benchmark_filename": "Files that are already split: [train, valid, test].",
    "model": "GRU4RecKG, or GRU4Rec: the same network without the knowledge graph.",
    "embedding_size": "Size of the item embeddings. pretrain-kg makes entity vectors of the same "
    "size.",
    "hidden_size": "Size of the GRUs' hidden states.",
    "num_layers": "Number of GRU layers.",
    "dropout_prob": "Dropout on the input of the GRUs.",
    "freeze_kg": "Keeps the entity vectors fixed; if not, they are trained too.",
    "loss_type": "CE, BPR or SSM. CE is the softmax over all items; SSM (not in RecBole) samples "
    "its negatives, for large catalogues.",
    "train_neg_sample_args": "The negatives of BPR and SSM.",
    "MAX_ITEM_LIST_LENGTH": "Number of most recent items of a history that the model reads.",
    "epochs": "Maximum number of epochs. Training stops earlier by stopping_step.",
    "train_batch_size": "Targets per batch.",
    "learner": "Optimizer. adam; or sparse_adam, which updates the items that a step reads, for "
    "large catalogues (loss_type SSM, CPU).",
    "learning_rate": "Learning rate of Adam.",
    "weight_decay": "Weight decay of Adam.",
    "clip_grad_norm": "Gradient clipping, such as {max_norm: 5}. null: none.",
    "eval_step": "Epochs between two validations.",
    "stopping_step": "Validations in a row without progress before training stops.",
    "eval_args": "How the data are split, and the candidates that a target is ranked among.",
    "eval_batch_size": "Targets per batch in evaluation, at most.",
    "metrics": "Metrics: Recall, MRR, NDCG, Hit, Precision, MAP; of whole lists ItemCoverage, "
    "AveragePopularity, ShannonEntropy, GiniIndex, TailPercentage.",
    "topk": "Cutoffs of the metrics.",
    "valid_metric": "Metric that selects the best epoch and stops training. For instance NDCG@10.",
    "metric_decimal_place": "Decimals of what run_recbole returns and result.txt shows.",
    "train_neg_sample_args.distribution": "uniform or popularity.",
    "train_neg_sample_args.sample_num": "Negatives per target (BPR), or shared by a batch (SSM).",
    "train_neg_sample_args.alpha": "Exponent of the popularity.",
    "train_neg_sample_args.dynamic": "Dynamic sampling. Not supported.",
    "train_neg_sample_args.candidate_num": "Candidates of dynamic sampling. Not supported.",
    "clip_grad_norm.max_norm": "Largest norm of the gradients.",
    "clip_grad_norm.norm_type": "Order of the norm.",
    "eval_args.split": "{LS: valid_and_test} holds out each user's last two items; valid_only and "
    "test_only hold out one (test_only trains all epochs). {RS: [0.8, 0.1, 0.1]} splits by shares.",
    "eval_args.order": "TO, by time.",
    "eval_args.mode": "full ranks all items; uniN and popN rank the target and N sampled "
    "negatives, such as uni100. {valid: MODE, test: MODE} sets two.",
    "eval_args.group_by": "user takes the shares of RS from each user's history. none takes them "
    "from the whole log in time (RecBole: in row order, which is by user).",
}
"""Settings under RecBole's names."""

KGREC_ONLY = {
    "preset": "best, small, large (many events a user) or sparse (many items). Settings of your "
    "own override them.",
    "device": "auto, cpu, cuda or cuda:N.",
    "threads": "CPU threads. Default: PyTorch's choice.",
    "recbole_compat": "Does what RecBole does wherever kgrec differs (see docs/recbole.md).",
    "hidden_dropout_prob": "Dropout on the output of the GRUs.",
    "residual": "The vector of the last item is added to what the GRUs' states become (He et al. "
    "2016).",
    "similarity": "dot, or cosine: items are scored by cosines times a learned number.",
    "layer_norm": "Layer normalization of the vector that scores the items (Ba et al. 2016).",
    "seen_bias": "Adds a learned bias to the scores of items in the history. It starts at the log "
    "of how much more often than by chance the training data repeat an item.",
    "kg_items": "Adds a learned projection of the entity vector to the item embedding. It is used "
    "where items are read and where they are scored.",
    "train_batching": "sequence predicts at all positions of a window in one pass; prefix trains "
    "on one row per target, as RecBole does.",
    "shuffle_ties": "Shuffles events with equal timestamps in each epoch.",
    "ema_decay": "Evaluates and saves an exponential moving average (EMA) of the weights. This is "
    "its largest decay; 0 switches it off.",
    "pretrain_kg": "How `kgrec pretrain-kg` makes the entity vectors.",
    "pretrain_kg.method": "A PyKEEN model, such as TransE, DistMult, ComplEx or RotatE.",
    "pretrain_kg.embedding_size": "Size of the entity vectors. Default: the model's.",
    "pretrain_kg.epochs": "Passes over the triples.",
    "pretrain_kg.batch_size": "Triples per batch.",
    "pretrain_kg.learning_rate": "Learning rate of Adam in the first epoch; it falls to zero.",
    "pretrain_kg.negatives": "Negatives per triple (default 16); with TransE, DistMult and "
    "ComplEx, negatives shared by a batch (default 512).",
    "pretrain_kg.seed": "Random seed.",
}
"""Settings that RecBole does not have."""

DESCRIPTIONS = RECBOLE | KGREC_ONLY

DEFAULTS = {
    "model": "GRU4RecKG", "freeze_kg": "freeze-kg", "epochs": "300", "learning_rate": "0.001",
    "train_batch_size": "2048", "embedding_size": "64", "hidden_size": "128", "num_layers": "1",
    "dropout_prob": "0.1", "loss_type": "CE", "valid_metric": "NDCG@10", "stopping_step": "10",
    "seed": "2020", "device": "auto", "pretrain_kg.method": "TransE", "pretrain_kg.epochs": "30",
    "pretrain_kg.batch_size": "2048", "pretrain_kg.learning_rate": "0.01",
}  # fmt: skip
"""Defaults as the help of options shows them; a test compares them with `settings`."""
