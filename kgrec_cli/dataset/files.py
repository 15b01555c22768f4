"""The files of a data set: where they are, what they were made from, and the reader of each.

`.item`, `.link`, `.kg` and `.label` are parsed here and nowhere else; `load.py` reads `.inter`,
`features.py` the vectors. All take RecBole's field names and separators from the settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ValidationError

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, ignore_event
from kgrec_cli.formats.atomic import place, read_atomic, read_header
from kgrec_cli.formats.files import check_whole, read_json, sha256_of
from kgrec_cli.settings import Settings

ENTITY = "entity"
DEFAULT_SUFFIX, RECBOLE_SUFFIX = "ent_feature", "ent"
REPORT_NAME = "prepare.json"
"""The report of `kgrec prepare` on the files that it wrote, beside them."""
ITEM_TEXTS = {
    "title": "title",
    "movie_title": "title",
    "release_year": "year",
    "genre": "genre",
    "class": "genre",
}
"""Text columns of `.item` in the files of `kgrec prepare` and RecBole -> what they hold."""


@dataclass(frozen=True)
class Feature:
    """One feature file: its columns of tokens (items if `of_items`, else entities) and of vectors.

    `name` is that of its branch: "entity" for the first file of entities, else the file's suffix.
    """

    name: str
    path: Path
    id_field: str
    vec_field: str
    of_items: bool


class _Verdict(BaseModel):
    verdict: str = ""
    summary: str = ""  # an older kgrec recorded none


class Report(BaseModel):
    """`prepare.json` as far as commands read it: digests, the verdict on the links, warnings.

    `converted` has, by the digest of a file that `prepare --convert` wrote, that of the file which
    was there first.
    """

    files: dict[str, str] = {}
    converted: dict[str, str] = {}
    links: _Verdict = _Verdict()
    warnings: list[str] = []
    warnings_on_results: list[str] | None = None

    def wrote(self, path: Path) -> bool:
        """Whether `prepare` wrote a file as it is now."""
        return path.is_file() and self.files.get(path.name) == sha256_of(path)


def read_report(path: Path) -> Report:
    """The report of `prepare` beside a file; an empty one of other programs and versions."""
    try:
        return Report.model_validate(read_json(path.with_name(REPORT_NAME)))
    except (KgrecError, ValidationError):
        return Report()


def origin_sha256(path: Path, digest: str | None = None) -> str:
    """The SHA-256 of a file of interactions, or of that which it was converted from.

    `digest` is the file's own, where it is known.
    """
    digest = digest or sha256_of(path)
    return read_report(path).converted.get(digest, digest)


def atomic_path(settings: Settings, folder: Path, suffix: str) -> Path:
    """Where an atomic file of the data set is, for instance suffix "inter".

    Interactions may be Parquet: the name then ends in `.inter.parquet`.

    Raises:
        KgrecError: Both are there, the text and the Parquet file.
    """
    path = folder / settings.data_path / f"{settings.dataset}" / f"{settings.dataset}.{suffix}"
    parquet_path = path.with_name(f"{path.name}.parquet")
    if path.suffix != ".inter" or not parquet_path.is_file():
        return path
    if path.is_file():
        raise KgrecError(
            f"{path.parent}: holds {path.name} and {parquet_path.name}; which one are the "
            "interactions? move the other away"
        )
    return parquet_path


def read_items(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.item`: String columns item_id, title, genre, the last two null where unknown.

    Columns other than `ITEM_TEXTS` are guessed by their names (`title` before `movie_title`, see
    `formats/raw/columns.py`). Each item has one row, its first one. Genres are separated by spaces.
    No row without an `.item`, or when it does not name its items.

    Raises:
        KgrecError: A malformed file, or one without the column that a setting of ITEM_ID_FIELD
            names.
    """
    path = atomic_path(settings, folder, "item")
    header = read_header(path, settings.field_separator) if path.is_file() else {}
    columns = dict.fromkeys(("item_id", "title", "genre"), pl.String)
    is_default = Settings.model_fields["ITEM_ID_FIELD"].default == settings.ITEM_ID_FIELD
    if not header or (is_default and settings.ITEM_ID_FIELD not in header):
        return pl.DataFrame(schema=columns)
    fields = {settings.ITEM_ID_FIELD: "item_id"}
    texts = [name for name, kind in header.items() if name not in fields and "token" in kind]
    by_role = {ITEM_TEXTS[name]: name for name in texts if name in ITEM_TEXTS}
    if len(by_role) < len(texts):
        from kgrec_cli.formats.raw.columns import guess_column  # files of others only

        numbers = {role: guess_column(role, texts) for role in ("title", "genre")}
        by_role = {role: texts[number] for role, number in numbers.items() if number is not None}
    fields |= {by_role[role]: role for role in ("title", "genre") if role in by_role}
    table = pl.concat([pl.DataFrame(schema=columns), _read(settings, path, fields)], how="diagonal")
    if settings.seq_separator != " ":
        genre = pl.col("genre").str.replace_all(settings.seq_separator, " ", literal=True)
        table = table.with_columns(genre)
    return table.drop_nulls("item_id").unique("item_id", keep="first", maintain_order=True)


def read_links(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.link`: String columns item_id, entity_id, none empty; no row without a file."""
    path = atomic_path(settings, folder, "link")
    fields = {settings.ITEM_ID_FIELD: "item_id", settings.ENTITY_ID_FIELD: "entity_id"}
    if not path.is_file():
        return pl.DataFrame(schema=dict.fromkeys(fields.values(), pl.String))
    return _read(settings, path, fields).drop_nulls()


def read_kg(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.kg`, repeated ones too: String columns head_id, relation_id, tail_id or null.

    Raises:
        KgrecError: A missing or malformed file.
    """
    path = atomic_path(settings, folder, "kg")
    if not path.is_file():
        raise KgrecError(f"{path}: no such file; `kgrec prepare` makes it")
    return _read(settings, path, _kg_fields(settings))


LABEL_TYPES = {"token": "token", "kind": "token", "label": "token_seq"}
"""The columns of `.label`: a token of `.kg`, whether it is an "entity" or a "relation", its name.

RecBole reads no file of this suffix.
"""


def read_labels(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.label`, columns of `LABEL_TYPES` (String), none null; no row without a file.

    Raises:
        KgrecError: A malformed file.
    """
    path = atomic_path(settings, folder, "label")
    if not path.is_file():
        return pl.DataFrame(schema=dict.fromkeys(LABEL_TYPES, pl.String))
    return _read(settings, path, {name: name for name in LABEL_TYPES}).drop_nulls()


def read_named_kg(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.kg` without an empty field, and a triple for the name of each labelled entity.

    Raises:
        KgrecError: A missing or malformed file.
    """
    from kgrec_cli.core.linking.names import with_names  # late: training needs no links

    return with_names(read_kg(settings, folder).drop_nulls(), read_labels(settings, folder))


def check_kg(settings: Settings, folder: Path, table: pl.DataFrame) -> None:
    """Checks that no field of a `.kg` is empty, as `pretrain-kg` needs it; `table` is its rows.

    Raises:
        KgrecError: Names the first line with an empty field.
    """
    check_filled(table, atomic_path(settings, folder, "kg"), _kg_fields(settings))


def _kg_fields(settings: Settings) -> dict[str, str]:
    return {
        settings.HEAD_ENTITY_ID_FIELD: "head_id",
        settings.RELATION_ID_FIELD: "relation_id",
        settings.TAIL_ENTITY_ID_FIELD: "tail_id",
    }


def _read(settings: Settings, path: Path, fields: Mapping[str, str]) -> pl.DataFrame:
    """Some fields of a file as String columns, each under the name that `fields` gives it."""
    table = read_atomic(path, list(fields), settings.field_separator)
    return table.rename(fields).cast(pl.String)


def check_filled(table: pl.DataFrame, path: Path, fields: Mapping[str, str]) -> None:
    """Checks that no field of a file is empty.

    The table has a row for each line after the header; `fields` gives the name of each field in it.

    Raises:
        KgrecError: Names the first line with such a field.
    """
    for field, name in fields.items():
        if table[name].null_count():
            row = int(table[name].is_null().arg_max() or 0)
            raise KgrecError(f"{place(path, row)}, column {field}: empty")


def made_from_another_kg(features_path: Path, kg_path: Path) -> bool:
    """Whether the sidecar of a feature file records another `.kg` than the one that is there."""
    sidecar_path = features_path.with_name(f"{features_path.name}.json")
    if not sidecar_path.is_file() or not kg_path.is_file():
        return False
    return read_json(sidecar_path).get("kg_sha256") not in (None, sha256_of(kg_path))


def changed_files(settings: Settings, folder: Path) -> list[str]:
    """A line for each file that is another one than `prepare` wrote. Checks that all is in place.

    Files that somebody made or edited may be used; so that no two that do not belong together
    are used unnoticed, the next command says so.

    Raises:
        KgrecError: A command was killed while it replaced the files of the data set.
    """
    paths = [atomic_path(settings, folder, suffix) for suffix in ("inter", "item", "kg", "link")]
    check_whole(paths[0].parent)
    report = read_report(paths[0])
    return [
        f"{path}: not as `kgrec prepare` wrote it ({REPORT_NAME} holds its digest); if you did not "
        "change it, prepare the data set again"
        for path in paths
        if path.name in report.files and path.is_file() and not report.wrote(path)
    ]


def recorded_verdict(settings: Settings, folder: Path) -> tuple[str, str] | None:
    """The verdict of `prepare` on the links ("sound", "broken" or "unknown"), and a line on why.

    None when `prepare` did not make these files, or when one that the verdict needs has changed.
    """
    paths = [atomic_path(settings, folder, suffix) for suffix in ("item", "kg", "link")]
    report = read_report(paths[0])
    if not report.links.summary or not all(map(report.wrote, paths)):
        return None
    return report.links.verdict, report.links.summary


def recorded_warnings(inter_path: Path, inter_sha256: str) -> list[str] | None:
    """The warnings of `prepare` on what results rest on: time order, missing ids and the like.

    None when `prepare` did not make this `.inter`, or an earlier kgrec, which recorded none.
    """
    report = read_report(inter_path)
    is_same = report.files.get(inter_path.name) == inter_sha256
    return report.warnings_on_results if is_same else None


def find_features(
    settings: Settings, folder: Path, on_event: OnEvent = ignore_event
) -> list[Feature]:
    """The feature files of entities and items that the settings name, in their order.

    Files of users and relations are left out, with a note: the model reads neither.

    Raises:
        KgrecError: A missing file, one whose columns the settings do not explain, or none left.
    """
    suffixes = settings.additional_feat_suffix or (entity_suffix(settings, folder),)
    features: list[Feature] = []
    for suffix in suffixes:
        path = atomic_path(settings, folder, suffix)
        if not path.is_file():
            raise KgrecError(_no_vectors(settings, folder, path, suffix))
        id_field, vec_field = _fields(settings, path)
        unread = _unread_kind(settings, id_field)
        if unread:
            on_event(Note(f"{path.name} is left out: it is of {unread}, and the model reads none"))
            continue
        of_items = id_field in (settings.ITEM_ID_FIELD, *settings.alias_of_item_id)
        if not of_items and id_field not in (
            settings.ENTITY_ID_FIELD,
            *settings.alias_of_entity_id,
        ):
            raise KgrecError(
                f"{path}: are its '{id_field}' entities or items? name the column in "
                "alias_of_entity_id or alias_of_item_id (alias_of_relation_id leaves it out)"
            )
        is_first_of_entities = not of_items and all(known.of_items for known in features)
        name = ENTITY if is_first_of_entities else suffix
        features.append(Feature(name, path, id_field, vec_field, of_items))
    if not features:
        raise KgrecError(
            f"additional_feat_suffix: {', '.join(suffixes)} has no vectors of entities or items; "
            f"add {DEFAULT_SUFFIX}, or train without: --model GRU4Rec"
        )
    return features


def _no_vectors(settings: Settings, folder: Path, path: Path, suffix: str) -> str:
    if suffix != DEFAULT_SUFFIX:
        return f"{path}: no such file, though additional_feat_suffix names it"
    if not _has_triples(settings, folder):
        return f"{path}: no such file, and no graph to make it of; train without: --model GRU4Rec"
    return f"{path}: no such file; `kgrec pretrain-kg` makes it (or train without: --model GRU4Rec)"


def _has_triples(settings: Settings, folder: Path) -> bool:
    """Whether the data set has a graph: a `.kg` of more than its header."""
    path = atomic_path(settings, folder, "kg")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.readline()
        return bool(file.readline().strip())


def _unread_kind(settings: Settings, id_field: str) -> str | None:
    """Whether a feature file is of "users" or "relations", by its id column; None: neither."""
    if id_field in (settings.USER_ID_FIELD, *settings.alias_of_user_id):
        return "users"
    if id_field in (settings.RELATION_ID_FIELD, *settings.alias_of_relation_id):
        return "relations"
    return None


def entity_suffix(settings: Settings, folder: Path) -> str:
    """`ent_feature`, or `ent` (RecBole's own default for this model) when only that is there."""
    has_default = atomic_path(settings, folder, DEFAULT_SUFFIX).is_file()
    has_recbole = atomic_path(settings, folder, RECBOLE_SUFFIX).is_file()
    return RECBOLE_SUFFIX if has_recbole and not has_default else DEFAULT_SUFFIX


def _fields(settings: Settings, path: Path) -> tuple[str, str]:
    """The id column and the vector column: as preload_weight says, else by their types."""
    header = read_header(path, settings.field_separator)
    for id_field, vec_field in (settings.preload_weight or {}).items():
        if id_field in header:
            return id_field, vec_field
    tokens = [name for name, kind in header.items() if kind == "token"]
    vectors = [name for name, kind in header.items() if kind == "float_seq"]
    if not tokens or not vectors:
        columns = ", ".join(f"{name}:{kind}" for name, kind in header.items())
        raise KgrecError(
            f"{path}, line 1: found {columns}; expected a token column and a float_seq column"
        )
    if settings.preload_weight:
        raise KgrecError(
            f"{path}: preload_weight has no entry for it; add {{{tokens[0]}: {vectors[0]}}}"
        )
    return tokens[0], vectors[0]
