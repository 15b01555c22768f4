"""`kgrec prepare`: options in, the stage called, the counts of what was read and kept shown."""

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import UsageError

_raw = partial(typer.Option, rich_help_panel="Raw data")
_kg = partial(typer.Option, rich_help_panel="Knowledge graph")
_rule = partial(typer.Option, rich_help_panel="What to keep")


OF_CONVERT = ("name", "convert", "inter_format", "data_path", "json_output")


def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the data set: ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m, ml-latest, "
            "ml-latest-small; any name with --raw."
        ),
    ],
    raw: Annotated[
        Path | None,
        _raw(
            help="MovieLens folder or zip, or a table of interactions (CSV, TSV, JSON lines, "
            "Parquet, gzip, bzip2; a folder, zip or 'pattern*' of its parts). Without it the set "
            "is downloaded."
        ),
    ] = None,
    user_col: Annotated[
        str | None, _raw(help="Column of users: its name, or number from 1.")
    ] = None,
    item_col: Annotated[str | None, _raw(help="Column of items.")] = None,
    rating_col: Annotated[str | None, _raw(help="Column of ratings; 'none' reads none.")] = None,
    time_col: Annotated[
        str | None,
        _raw(help="Column of times: numbers that grow, or dates; 'none' takes the file's order."),
    ] = None,
    offset_col: Annotated[
        str | None,
        _raw(
            help="Column of the time within the day that --time-col names: HH:MM:SS, or a number "
            "of seconds or milliseconds."
        ),
    ] = None,
    time_format: Annotated[
        str | None, _raw(help="How the times are written, as for strptime: '%d.%m.%y %H:%M'.")
    ] = None,
    items: Annotated[
        Path | None, _raw(help="Item list of a table: id, title, year, genres.")
    ] = None,
    id_col: Annotated[
        str | None, _raw(help="Column of ids in the item list: its name, or number from 1.")
    ] = None,
    title_col: Annotated[str | None, _raw(help="Column of titles in the item list.")] = None,
    year_col: Annotated[str | None, _raw(help="Column of years in the item list.")] = None,
    genre_col: Annotated[
        str | None, _raw(help="Column of genres or categories in the item list.")
    ] = None,
    on_bad_row: Annotated[
        Literal["error", "skip"],
        _raw(help="Stop at a bad row, or set bad rows aside in a file beside the output."),
    ] = "error",
    missing_ids: Annotated[
        Literal["error", "skip", "keep"],
        _raw(
            help="Ids that stand for a missing value (NA, NULL, None, nan, \\N): stop, drop their "
            "rows, or take them for ids. In CSV quotes they are ids."
        ),
    ] = "error",
    kg: Annotated[
        list[str] | None,
        _kg(
            help="Triples (.kg, TSV, CSV, Parquet, N-Triples, gzip, bzip2, a folder of KGAT, "
            "OpenKE or with kg.txt); or 'wikidata'; 'freebase' (for ml-100k); 'metadata': genres, "
            "years and tags of the raw set, or the columns of the item list; 'none'; 'auto': the "
            "one registered for the set if it can be downloaded, else metadata. Twice: the graphs "
            "are joined.",
            show_default="auto",
        ),
    ] = None,
    links: Annotated[
        list[Path] | None,
        _kg(
            help="Which item is which entity: two columns, or item, title, entity. "
            "Without --kg they are links to the graph registered for the set. With several --kg, "
            "one for each, in their order."
        ),
    ] = None,
    link_by: Annotated[
        str | None,
        _kg(
            help="id: the links use the item ids of the data set. title: they use another "
            "catalogue's ids, so items are matched by title and year (the default with --catalog). "
            "id without --links: the entities are the items; two columns are pairs of items. "
            "title without --links: match the names of entities (rdfs:label, IRIs of DBpedia). "
            "With --kg wikidata: imdb, tmdb, isbn, musicbrainz, steam or P345=COLUMN, an external "
            "identifier; title, or title=Q7725634 with the type of the items."
        ),
    ] = None,
    catalog: Annotated[
        Path | None,
        _kg(
            help="Item list whose ids the links use: movies.dat, movies.csv, u.item, or a table "
            "of id and title."
        ),
    ] = None,
    relations: Annotated[
        str | None,
        _kg(
            help="Relations to take, separated by commas, or 'all': P57,P161 of Wikidata. Default "
            "with --kg wikidata: those whose values some of the items share."
        ),
    ] = None,
    hops: Annotated[
        int | None,
        _kg(min=1, max=2, help="With --kg wikidata: 2 adds the triples of the values (default 1)."),
    ] = None,
    language: Annotated[
        str | None,
        _kg(metavar="CODE", help="Language of names, such as de. Default: that of the system."),
    ] = None,
    endpoint: Annotated[
        str | None, _kg(metavar="URL", help="Another service than query.wikidata.org.")
    ] = None,
    add_metadata: Annotated[
        bool,
        _kg(
            "--add-metadata",
            help="Add the items' genres, years and tags to the KG, or the columns of the item "
            "list. Helps where it knows few items.",
        ),
    ] = False,
    kg_columns: Annotated[
        str | None,
        _kg(
            help="Columns of the item list to make relations of, by name or number, such as "
            "brand,category:list,price:bins. Kinds: value, list, bins (quantiles; bins=10), year, "
            "items (ids of other items). Default: all that are of use.",
            show_default=False,
        ),
    ] = None,
    kg_labels: Annotated[
        Path | None,
        _kg(help="Names of entities and relations: a table of token and name, for explanations."),
    ] = None,
    drop_relation: Annotated[
        list[str] | None,
        _kg(
            help="Drop a relation, by its token or the name that `kgrec graph` shows; may be "
            "repeated."
        ),
    ] = None,
    kg_min_degree: Annotated[
        int, _kg(min=0, help="Drop entities in fewer triples, unless they are an item's.")
    ] = 0,
    kg_max_degree: Annotated[
        int | None, _kg(min=1, help="Drop entities in more triples, unless they are an item's.")
    ] = None,
    min_rating: Annotated[float | None, _rule(help="Drop lower ratings.")] = None,
    min_user_inter: Annotated[int, _rule(min=0, help="Drop users with fewer interactions.")] = 0,
    min_item_inter: Annotated[int, _rule(min=0, help="Drop items with fewer interactions.")] = 0,
    duplicates: Annotated[
        Literal["all", "first", "last"],
        _rule(help="Of the rows of one user and item keep all, the first or the last in time."),
    ] = "all",
    data_path: Annotated[
        str | None, opt.setting("data_path", show_default="dataset, or as kgrec.yaml says")
    ] = None,
    inter_format: Annotated[
        Literal["atomic", "parquet"],
        typer.Option(
            "--format",
            help="Interactions as text (NAME.inter) or as Parquet (NAME.inter.parquet): smaller, "
            "and read by parts.",
        ),
    ] = "atomic",
    convert: Annotated[
        bool,
        typer.Option(
            "--convert",
            help="Only rewrite the interactions of a prepared data set in this --format; reads no "
            "raw data.",
        ),
    ] = False,
    dry_run: opt.DryRun = False,
    json_output: opt.Json = False,
) -> None:
    """Turn raw interactions and a knowledge graph into RecBole's atomic files."""
    options = locals().copy()
    from kgrec_cli import api

    if convert:
        _check_options_of_convert(options)
        written = api.convert(name, inter_format=inter_format, data_path=data_path)
        if json_output:
            console.emit_json({"files": [str(path) for path in written]})
            return
        for path in written:
            console.say(f"wrote {path}")
        return
    result = api.prepare(
        name, raw=raw, items=items, id_col=id_col, title_col=title_col, year_col=year_col,
        genre_col=genre_col, user_col=user_col, item_col=item_col, rating_col=rating_col,
        time_col=time_col, offset_col=offset_col, time_format=time_format, on_bad_row=on_bad_row,
        missing_ids=missing_ids, kg=kg or "auto", links=links, link_by=link_by, catalog=catalog,
        relations=relations, hops=hops, language=language, endpoint=endpoint,
        add_metadata=add_metadata, kg_columns=kg_columns, kg_labels=kg_labels,
                drop_relation=drop_relation or (), kg_min_degree=kg_min_degree,
        kg_max_degree=kg_max_degree, min_rating=min_rating, min_user_inter=min_user_inter,
        min_item_inter=min_item_inter, duplicates=duplicates, data_path=data_path,
        inter_format=inter_format, dry_run=dry_run, quiet=json_output,
    )  # fmt: skip
    if json_output:
        console.emit_json(result.report)
        return
    console.table(None, [name, "rows", "share"], account(result.report))
    if made := columns_made(result.report):
        console.table("relations of the item list", ["relation", "items", "values", "from"], made)
    if dry_run:
        state = "replaced" if result.dataset_dir.is_dir() else "made"
        console.say(f"{result.dataset_dir}: would be {state}; nothing is written (--dry-run)")
        return
    label = ",label" if f"{name}.label" in result.report["files"] else ""
    inter = "inter.parquet" if inter_format == "parquet" else "inter"
    files = f"{name}.{{{inter},item,user,kg,link{label}}}"
    console.say(f"wrote {result.dataset_dir}/{files} and prepare.json")
    if result.bad_rows_path is not None:
        console.say(f"bad rows are in {result.bad_rows_path}")
    starter_files = result.starter_files
    if starter_files.written:
        console.say(f"left {' and '.join(starter_files.written)} in this folder")
    has_graph = result.report["kg"]["triples"] > 0
    next_command = "pretrain-kg --method TransE" if has_graph else "train --model GRU4Rec"
    if result.has_vectors and has_graph:
        next_command = "train"
    if starter_files.named_dataset != name:
        named = starter_files.named_dataset or "none"
        console.say(f"kgrec.yaml was there and names the data set {named}: left as it is")
        next_command += f" --dataset {name}"
    console.say(f"next: kgrec {next_command}")


def _check_options_of_convert(options: Mapping[str, Any]) -> None:
    for name, option in inspect.signature(prepare).parameters.items():
        if name not in OF_CONVERT and options[name] != option.default:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}: --convert takes only --format, --data-path and --json")


def account(report: dict[str, Any]) -> list[list[Any]]:
    """The rows of the table: what, how many, share. Rows that do not apply are not shown."""
    interactions, links, kg = report["interactions"], report["links"], report["kg"]
    dropped, options = interactions["dropped"], report["options"]
    n_read, n_kept = interactions["read"], interactions["kept"]
    repeated = interactions["repeated_pairs"] if options["duplicates"] == "all" else 0
    optional: list[tuple[str, int]] = [
        ("  bad rows set aside", interactions["bad"]),
        ("  bad rows in other files", interactions["bad_in_other_files"]),
        ("  dropped by --missing-ids skip", dropped.get("missing_ids", 0)),
        (f"  dropped by --duplicates {options['duplicates']}", dropped["duplicates"]),
        (f"  dropped by --min-rating {options['min_rating'] or 0:g}", dropped["min_rating"]),
        (f"  dropped by --min-user-inter {options['min_user_inter']}", dropped["min_user_inter"]),
        (f"  dropped by --min-item-inter {options['min_item_inter']}", dropped["min_item_inter"]),
    ]
    rows: list[list[Any]] = [["interactions read", n_read, ""]]
    rows += [[what, count, ""] for what, count in optional if count]
    rows.append(["interactions kept", n_kept, _share(n_kept, n_read)])
    if repeated:
        rows.append(["  of a user and item seen before", repeated, _share(repeated, n_kept)])
    rows += [["users", interactions["users"], ""], ["items", interactions["items"], ""]]
    if missing := report["items"]["not_in_catalogue"]:
        rows.append(["  not in the item list", missing, ""])
    if not kg["triples"]:
        return rows
    items = links["items"]
    if titles := links["titles"]:
        n_matched = titles["items"] - titles["ambiguous"] - titles["not_found"]
        rows.append(["titles matched", n_matched, _share(n_matched, titles["items"])])
        if titles["ambiguous"]:
            rows.append(["  ambiguous, left out", titles["ambiguous"], ""])
    rows.append(["items linked", links["items_linked"], _share(links["items_linked"], items)])
    with_triples = links["items_with_triples"]
    rows.append(["  to an entity with triples", with_triples, _share(with_triples, items)])
    covered = links["interactions_linked"]
    rows.append(["interactions covered", covered, _share(covered, n_kept)])
    covered = links["interactions_with_triples"]
    rows.append(["  by an entity with triples", covered, _share(covered, n_kept)])
    optional = [
        ("linked entities without a triple", links["entities_without_triple"]),
        ("links of items not in the data set", links["of_other_items"]),
        ("second entities of an item, dropped", links["further_entities_of_an_item"]),
        ("items that share an entity", links["items_sharing_an_entity"]),
        ("repeated triples, dropped", kg["repeated"]),
        ("triples from an entity to itself", kg["self_loops"]),
        ("triples pruned", kg.get("pruned", {}).get("triples", 0)),
    ]
    rows += [[what, count, ""] for what, count in optional if count]
    rows += [[f"triples ({kg['name']})", kg["triples"], ""]]
    return [*rows, ["entities", kg["entities"], ""], ["relations", kg["relations"], ""]]


def columns_made(report: dict[str, Any]) -> list[list[Any]]:
    """The rows of the table of relations that the columns of an item list gave."""
    return [
        [
            " and ".join(use["relations"]),
            use["items"],
            use["values"],
            f"{use['column']}: {use['how'] or 'as it is'}",
        ]
        for use in report["kg"].get("columns", ())
        if use["kind"] != "unused"
    ]


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else ""
