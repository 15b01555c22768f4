"""What `prepare` leaves in the working folder for the next commands: `kgrec.yaml`, `hyper.test`."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from kgrec_cli.config import CONFIG_NAME, read_yaml
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import write_text
from kgrec_cli.formats.hyper_test import REFERENCE_HYPER_TEST
from kgrec_cli.settings import Settings

HYPER_NAME = "hyper.test"

_SETTINGS = """\
# Settings of this folder. Every kgrec command reads them; options on the command line win.
{dataset}
{data_path}
# model: GRU4RecKG            # or GRU4Rec: the same network without the knowledge graph
# embedding_size: 64
# hidden_size: 128
# num_layers: 1
# dropout_prob: 0.1
# freeze_kg: true             # false trains the entity vectors too
# loss_type: CE               # or BPR, SSM
# seen_bias: false            # true: learns whether the data repeat items
# layer_norm: false           # true: learns faster where items are many and events few
# shuffle_ties: false         # true: events of equal time in a new order each epoch
# learning_rate: 0.001
# train_batch_size: 2048
# epochs: 300                 # at most; stops after stopping_step evaluations without progress
# stopping_step: 10
# MAX_ITEM_LIST_LENGTH: 50
# valid_metric: NDCG@10

# pretrain_kg:                # how entity vectors are made from the knowledge graph
#   method: TransE
#   epochs: 30
"""


@dataclass(frozen=True)
class StarterFiles:
    """What `leave_starter_files` did.

    Attributes:
        written: Names of the files written.
        named_dataset: The data set that `kgrec.yaml` names now; None when it names none.
    """

    written: tuple[str, ...] = ()
    named_dataset: str | None = None


def leave_starter_files(folder: Path, dataset: str, data_path: str) -> StarterFiles:
    """Writes the two files where they are not there yet; never over one that is.

    Args:
        folder: The working folder.
        dataset: Name of the data set.
        data_path: Folder of the data sets, as the settings name it.
    """
    written = []
    config_path = folder / CONFIG_NAME
    if not config_path.exists():
        write_text(config_path, settings_text(dataset, data_path))
        written.append(CONFIG_NAME)
    if not (folder / HYPER_NAME).exists():
        write_text(folder / HYPER_NAME, REFERENCE_HYPER_TEST)
        written.append(HYPER_NAME)
    named = None
    with suppress(KgrecError):  # the next command says what is wrong with it
        named = read_yaml(config_path).get("dataset")
    return StarterFiles(tuple(written), named)


def settings_text(dataset: str, data_path: str) -> str:
    """A `kgrec.yaml` that names the data set, with the usual settings as comments."""
    default = Settings.model_fields["data_path"].default
    mark = "# " if data_path == default else ""
    return _SETTINGS.format(
        dataset=yaml.safe_dump({"dataset": dataset}, allow_unicode=True).strip(),
        data_path=mark + yaml.safe_dump({"data_path": data_path}, allow_unicode=True).strip(),
    )
