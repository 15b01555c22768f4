"""Which files a data set has: where they are, and which of them hold vectors.

`dataset.py` and `features.py` read what is found here.
"""

from dataclasses import dataclass
from pathlib import Path

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.atomic import read_header
from kgrec_cli.settings import Settings

ENTITY = "entity"
DEFAULT_SUFFIX, RECBOLE_SUFFIX = "ent_feature", "ent"


@dataclass(frozen=True)
class Feature:
    """One feature file.

    Attributes:
        name: Of its branch: "entity" for the first file of entities, else its suffix.
        path: The file.
        id_field: Its column of tokens.
        vec_field: Its column of vectors.
        of_items: True when its tokens are items, False when they are entities.
    """

    name: str
    path: Path
    id_field: str
    vec_field: str
    of_items: bool


def atomic_path(settings: Settings, folder: Path, suffix: str) -> Path:
    """Where an atomic file of the data set is, for instance suffix "inter"."""
    return folder / settings.data_path / f"{settings.dataset}" / f"{settings.dataset}.{suffix}"


def find_features(settings: Settings, folder: Path) -> list[Feature]:
    """The feature files that the settings name, in their order.

    Raises:
        KgrecError: A missing file, or one whose columns the settings do not explain.
    """
    suffixes = settings.additional_feat_suffix or (_only_suffix(settings, folder),)
    features: list[Feature] = []
    for suffix in suffixes:
        path = atomic_path(settings, folder, suffix)
        if not path.is_file():
            raise KgrecError(
                f"{path}: no such file; `kgrec pretrain-kg` makes it "
                "(or train without: --model GRU4Rec)"
                if suffix == DEFAULT_SUFFIX
                else f"{path}: no such file, though additional_feat_suffix names it"
            )
        id_field, vec_field = _fields(settings, path)
        of_items = id_field in (settings.ITEM_ID_FIELD, *settings.alias_of_item_id)
        if not of_items and id_field not in (
            settings.ENTITY_ID_FIELD,
            *settings.alias_of_entity_id,
        ):
            raise KgrecError(
                f"{path}: are its '{id_field}' entities or items? name the column in "
                "alias_of_entity_id or alias_of_item_id"
            )
        is_first_of_entities = not of_items and all(known.of_items for known in features)
        name = ENTITY if is_first_of_entities else suffix
        features.append(Feature(name, path, id_field, vec_field, of_items))
    return features


def _only_suffix(settings: Settings, folder: Path) -> str:
    """`ent_feature`, or `ent` (RecBole's own default for this model) when only that is there."""
    own = atomic_path(settings, folder, DEFAULT_SUFFIX).is_file()
    recbole = atomic_path(settings, folder, RECBOLE_SUFFIX).is_file()
    return RECBOLE_SUFFIX if recbole and not own else DEFAULT_SUFFIX


def _fields(settings: Settings, path: Path) -> tuple[str, str]:
    """The id column and the vector column: as preload_weight says, else told by their types."""
    header = read_header(path, settings.field_separator)
    for id_field, vec_field in (settings.preload_weight or {}).items():
        if id_field in header:
            return id_field, vec_field
    tokens = [name for name, kind in header.items() if kind == "token"]
    vectors = [name for name, kind in header.items() if kind == "float_seq"]
    if not tokens or not vectors:
        found = ", ".join(f"{name}:{kind}" for name, kind in header.items())
        raise KgrecError(
            f"{path}, line 1: found {found}; expected a token column and a float_seq column"
        )
    if settings.preload_weight:
        raise KgrecError(
            f"{path}: preload_weight has no entry for it; add {{{tokens[0]}: {vectors[0]}}}"
        )
    return tokens[0], vectors[0]
