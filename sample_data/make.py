"""Makes the sample data: invented films, users, ratings and a small knowledge graph (KG).

    python sample_data/make.py [--out FOLDER]

One seed, the standard library and no function whose last digit depends on the machine: the same
bytes everywhere. The rules by which users choose films, and the flaws put in on purpose, are told
in README.md beside this file. A test makes the files again and compares.
"""

import argparse
import csv
import io
import random
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SEED = 2020
N_FILMS = 400
N_USERS = 300
DAY = 86_400
FIRST_TIME = 1_420_070_400  # 2015-01-01

# theme: its usual genres. A theme is close to its two neighbours in this list, as in a ring.
THEMES = {
    "heist": ("Crime", "Thriller"),
    "courtroom": ("Crime", "Drama"),
    "family_secrets": ("Drama", "Mystery"),
    "small_town": ("Comedy", "Drama"),
    "wedding": ("Comedy", "Romance"),
    "stage_and_song": ("Musical", "Romance"),
    "talking_animals": ("Animation", "Children"),
    "lost_kingdom": ("Adventure", "Fantasy"),
    "deep_space": ("Adventure", "Sci-Fi"),
    "robots": ("Action", "Sci-Fi"),
    "haunted_house": ("Horror", "Mystery"),
    "spies": ("Action", "Thriller"),
}
WORDS = """
adjectives: Amber Ashen Borrowed Bramble Brass Chalk Cinder Clockwork Copper Crooked Drowsy
  Feathered Flint Gilded Hollow Indigo Ivory Juniper Lacquered Lopsided Marble Moth-Eaten Mossy
  Nettle Paper Pewter Quilted Restless Rusted Saffron Salted Sleepless Slate Tangled Tin Umber
  Unsent Velvet Waxen Wicker

nouns: Almanac Aqueduct Archipelago Barometer Beekeeper Bellows Cartographer Causeway Cellist
  Chandelier Cloakroom Compass Conductor Dovecote Dredger Escalator Ferryman Foundry Gazebo
  Glassblower Granary Harbormaster Hourglass Inkwell Kiln Lamplighter Lighthouse Locksmith Loom
  Metronome Observatory Orchard Parlor Pendulum Quarry Sawmill Sextant Signalman Telegraph Thimble
  Turnstile Umbrella Viaduct Weathervane

places: Ostravel Kelmouth Quillane Varnholt Tesserby Mirowen Dunhallow Brackenfirth Solvanne
  Hestermere Pellworth Zarathene Ollerby Cindermoor Fenwicket Lorrimar Nantwillow Ysperdal

first_names: Ada Anouk Bram Céleste Dario Edda Emre Fenna Goran Hanne Ines Jorun Kofi Leda Mirko
  Nadia Odile Pavel Quentin Rosalba Søren Tamsin Ulla Vico Wanda Xenia Yara Zoltan

surname_starts: Abel Bran Cor Dorn Ester Fal Gren Hal Ister Jar Kess Lor Mar Nor

surname_ends: agh ander avec eby ellin enko ioru iveri mund okar ovanz ström üller wick

studios: Blue_Anvil Four_Winds Halfmoon Kestrel_House Lantern_Row Milestone North_Pier Paper_Boat
  Red_Kite Second_Reel Tall_Grass Wheelhouse
"""
# Whole titles, for what real catalogues hold: accents, commas, quotation marks, a second title.
SPECIAL_TITLES = (
    "Été à Solvanne, L'",
    "Señora Ceniza y los relojes",
    "Größte Regenschirm, Der",
    "Œuvre au gris, L'",
    "Žofie a tři lampy",
    "Bells, Books and Bramble",
    "Dear Ferryman, Dear Thief, Dear Sister",
    'The "Quiet" Dredger of Kelmouth',
    'Signalman, or "How We Lost the Viaduct"',
    "Winter Ledger, The (Le registre d'hiver)",
    "Thimble Thieves (Los ladrones de dedales)",
    "9 1/2 Metronomes",
    "Kiln!",
    "What Is a Gazebo For?",
)
NO_GENRES = "(no genres listed)"


@dataclass
class Film:
    """One film; `key` names its entity in the KG."""

    title: str
    year: int
    themes: list[str]
    genres: list[str]
    director: str
    stars: list[str]
    studio: str
    fame: float
    series: str
    part: int
    item_id: int = 0
    has_year: bool = True
    key: str = ""


@dataclass
class Rating:
    """One row of ratings.csv; the value counts half stars."""

    user_id: int
    item_id: int
    half_stars: int
    timestamp: int


@dataclass
class Catalogue:
    """All films in the order of their years, and those of a theme, a director, a series."""

    films: list[Film]
    by_theme: dict[str, list[Film]]
    by_director: dict[str, list[Film]]
    by_series: dict[str, list[Film]]


def words(kind: str) -> list[str]:
    """The words after `kind:` in WORDS."""
    return WORDS.partition(f"\n{kind}:")[2].partition("\n\n")[0].split()


def slug(text: str) -> str:
    """`text` in small ASCII letters, digits and underscores."""
    plain = unicodedata.normalize("NFKD", text.replace("ø", "o").replace("Œ", "Oe"))
    kept = "".join(c if c.isalnum() else "_" for c in plain.lower() if c.isascii())
    return "_".join(part for part in kept.split("_") if part)


def catalogue_title(name: str) -> str:
    """A title as GroupLens files it: `The Tin Loom` as `Tin Loom, The`."""
    return f"{name.removeprefix('The ')}, The" if name.startswith("The ") else name


def make_names(rng: random.Random, number: int) -> list[str]:
    """So many different invented people."""
    surnames = [start + end for start in words("surname_starts") for end in words("surname_ends")]
    rng.shuffle(surnames)
    return [f"{rng.choice(words('first_names'))} {surname}" for surname in surnames[:number]]


def make_titles(rng: random.Random) -> Iterator[str]:
    """Different invented titles without end (there are some 4,000)."""
    adjectives, nouns, places = words("adjectives"), words("nouns"), words("places")
    used = set()
    while True:
        adjective, noun, place = rng.choice(adjectives), rng.choice(nouns), rng.choice(places)
        with_noun = (f"The {adjective} {noun}", f"{adjective} {noun}", f"The {noun} of {place}")
        title = rng.choice((*with_noun, f"{adjective} {place}"))
        if title not in used:
            used.add(title)
            yield title


def make_films(rng: random.Random) -> list[Film]:
    """The catalogue: series of two or three parts with one director, and single films."""
    people = make_names(rng, 12 * len(THEMES))
    crews = {theme: people[12 * place : 12 * place + 12] for place, theme in enumerate(THEMES)}
    themes, titles, studios = list(THEMES), make_titles(rng), words("studios")
    special = list(SPECIAL_TITLES)
    films: list[Film] = []
    while len(films) < N_FILMS:
        theme = themes[len(films) % len(themes)] if rng.random() < 0.5 else rng.choice(themes)
        directors, actors = crews[theme][:4], crews[theme][4:]
        director, studio, cast = rng.choice(directors), rng.choice(studios), rng.sample(actors, 2)
        n_parts = rng.choice((2, 2, 2, 3, 3)) if rng.random() < 0.2 else 1
        name = next(titles)
        if n_parts == 1 and special and rng.random() < 0.08:
            name = special.pop()
        year = rng.randint(1955, 2002 if n_parts > 1 else 2014)
        fame = rng.choice((0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 14, 20))
        for part in range(1, min(n_parts, N_FILMS - len(films)) + 1):
            other = rng.choice(themes)
            genres = {*THEMES[theme], rng.choice(THEMES[other])}
            films.append(
                Film(
                    title=catalogue_title(f"{name} {'I' * part}" if part > 1 else name),
                    year=year,
                    themes=[theme, other] if other != theme and rng.random() < 0.3 else [theme],
                    genres=sorted(genres if rng.random() < 0.4 else THEMES[theme]),
                    director=director,
                    stars=cast if part == 1 else [cast[0], rng.choice(actors)],
                    studio=studio,
                    fame=fame,
                    series=name if n_parts > 1 else "",
                    part=part,
                )
            )
            year += rng.randint(1, 4)
    films.sort(key=lambda film: film.year)
    item_id = 0
    for film in films:
        item_id += rng.choice((1, 1, 1, 2, 5))  # ids have gaps and grow with the year
        film.item_id = item_id
        film.key = f"film/{slug(film.title)}_{film.year}"
    return films


def spoil_films(rng: random.Random, films: list[Film]) -> None:
    """Flaws of real catalogues: no year, no genres, nobody's film, one film under two ids."""
    singles = [film for film in films if not film.series and film.title not in SPECIAL_TITLES]
    chosen = rng.sample(singles, 21)
    for film in chosen[:4]:
        film.has_year = False
    for film in chosen[4:9]:
        film.genres = [NO_GENRES]
    for film in chosen[9:17]:
        film.fame = 0
    for film, twin in zip(chosen[17:19], chosen[19:21], strict=True):
        films[films.index(twin)] = replace(film, item_id=twin.item_id)


def index_films(films: list[Film]) -> Catalogue:
    """Finds the films of each theme, director and series."""
    catalogue = Catalogue(films, {}, {}, {})
    for film in films:
        for theme in film.themes:
            catalogue.by_theme.setdefault(theme, []).append(film)
        catalogue.by_director.setdefault(film.director, []).append(film)
        if film.series:
            catalogue.by_series.setdefault(film.series, []).append(film)
    return catalogue


def choose_film(
    rng: random.Random, catalogue: Catalogue, mood: str, last: Film | None, seen: set[int]
) -> Film | None:
    """The next film of somebody in a mood; None when that theme holds nothing new.

    A next part first; else, at times, a film of the same director from about the same years; else
    one of the next few of the theme by year, famous ones rather. `mood` is a theme, `last` the film
    last seen in it, `seen` holds the ids of all films seen so far.
    """
    films = catalogue.by_theme[mood]
    start = rng.randrange(len(films))
    if last is not None:
        parts = catalogue.by_series.get(last.series, [])
        if last.part < len(parts) and parts[last.part].item_id not in seen and rng.random() < 0.7:
            return parts[last.part]
        same = [
            film
            for film in catalogue.by_director[last.director]
            if film.fame and film.item_id not in seen and film.part == 1
        ]
        if same and rng.random() < 0.2:
            return min(same, key=lambda film: (abs(film.year - last.year), film.item_id))
        start = films.index(last) + 1 if mood in last.themes else start
    fresh = [
        film
        for film in films[start:] + films[:start]
        if film.item_id not in seen and rng.random() * (8 if film.part == 1 else 80) < film.fame
    ][:8]
    weights = [film.fame * (12 - place) for place, film in enumerate(fresh)]
    return rng.choices(fresh, weights)[0] if fresh else None


def make_history(
    rng: random.Random, catalogue: Catalogue, user_id: int, n_ratings: int
) -> list[Rating]:
    """What one user watched, in order: moods that last and are taken up again, in sessions."""
    themes = list(THEMES)
    place = rng.randrange(len(themes))
    taste = [themes[place], themes[(place + 1) % len(themes)], rng.choice(themes)]
    mood = taste[0]
    last_of_mood: dict[str, Film] = {}
    seen: set[int] = set()
    ratings: list[Rating] = []
    now = FIRST_TIME + rng.randrange(1200 * DAY)
    while len(ratings) < n_ratings:
        if rng.random() < 0.15:
            mood = rng.choices([*taste, rng.choice(themes)], (6, 4, 3, 1))[0]
        film = choose_film(rng, catalogue, mood, last_of_mood.get(mood), seen)
        if rng.random() < 0.08:  # what everybody watches
            film = rng.choices(catalogue.films, [film.fame for film in catalogue.films])[0]
        if film is None or film.item_id in seen:
            mood = rng.choice(themes)
            continue
        likes = 7 if set(film.themes) & set(taste) else 5
        half_stars = (
            likes + (film.fame > 5) + rng.choice((-4, -3, -2, -1, -1, 0, 0, 0, 1, 1, 1, 2, 2))
        )
        ratings.append(Rating(user_id, film.item_id, max(1, min(10, half_stars)), now))
        seen.add(film.item_id)
        last_of_mood[mood] = film
        if rng.random() < 0.12:
            now += rng.randint(DAY // 2, 15 * DAY)
        elif rng.random() < 0.9:  # else two films in one second
            now += rng.randint(2, 90)
    return ratings


def make_ratings(rng: random.Random, catalogue: Catalogue) -> list[Rating]:
    """All histories; the last two users have one rating and two."""
    ratings: list[Rating] = []
    for user_id in range(1, N_USERS + 1):
        share = rng.random()
        n_ratings = {N_USERS - 1: 1, N_USERS: 2}.get(user_id, 14 + int(150 * share * share))
        ratings += make_history(rng, catalogue, user_id, n_ratings)
    for rating in rng.sample(ratings, 6):  # rated again, later
        again = rating.timestamp + rng.randint(DAY, 30 * DAY)
        ratings.append(Rating(rating.user_id, rating.item_id, rng.randint(1, 10), again))
    return sorted(ratings, key=lambda rating: (rating.user_id, rating.item_id))


def make_tags(
    rng: random.Random, catalogue: Catalogue, ratings: Sequence[Rating]
) -> list[tuple[int, int, str, int]]:
    """Tags after themes and people, as users write them, some of no use."""
    films = {film.item_id: film for film in catalogue.films}
    tags = []
    for rating in rng.sample(ratings, 600):
        film = films[rating.item_id]
        theme = rng.choice(film.themes).replace("_", " ")
        useless = ("slow, but worth it", "seen twice")
        tag = rng.choice((theme, theme, theme, theme.title(), film.director, *useless))
        tags.append((rating.user_id, rating.item_id, tag, rating.timestamp + rng.randint(1, 600)))
    return sorted(tags)


def make_kg(catalogue: Catalogue, without_triples: set[str]) -> list[tuple[str, str, str]]:
    """Triples of what users go by (theme, director, series) and of what they do not."""
    triples: list[tuple[str, str, str]] = []
    for film in catalogue.films:
        if film.key in without_triples:
            continue
        tails = [
            ("directed_by", f"person/{slug(film.director)}"),
            *(("starring", f"person/{slug(star)}") for star in film.stars),
            *(("has_theme", f"theme/{theme}") for theme in film.themes),
            *(("has_genre", f"genre/{slug(g)}") for g in film.genres if g != NO_GENRES),
            ("made_by", f"studio/{slug(film.studio)}"),
            ("from_decade", f"decade/{film.year // 10 * 10}s"),
        ]
        if parts := catalogue.by_series.get(film.series):
            tails.append(("part_of", f"series/{slug(film.series)}"))
            tails += [("followed_by", after.key) for after in parts[film.part : film.part + 1]]
        triples += [(film.key, relation, tail) for relation, tail in tails]
    for theme, close in zip(THEMES, [*list(THEMES)[1:], next(iter(THEMES))], strict=True):
        triples.append((f"theme/{theme}", "close_to", f"theme/{close}"))
    return list(dict.fromkeys(triples))  # a film under two ids is one entity


def write_table(path: Path, columns: str, rows: Iterable[Sequence[object]]) -> None:
    """Writes a table as UTF-8 with plain line ends, quoted only where needed."""
    separator = "\t" if path.suffix == ".tsv" else ","
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(columns.split())
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())


def write_sample_data(out_dir: Path) -> None:
    """Makes everything from the seed and writes the six files into `out_dir`."""
    rng = random.Random(SEED)
    films = make_films(rng)
    spoil_films(rng, films)
    catalogue = index_films(films)
    ratings = make_ratings(rng, catalogue)
    tags = make_tags(rng, catalogue, ratings)
    single_keys = list(dict.fromkeys(film.key for film in films if not film.series))
    rng.shuffle(single_keys)
    unlinked, without_triples = set(single_keys[:14]), set(single_keys[14:17])

    out_dir.mkdir(parents=True, exist_ok=True)
    movies = [
        (film.item_id, film.title + f" ({film.year})" * film.has_year, "|".join(film.genres))
        for film in films
    ]
    write_table(out_dir / "movies.csv", "movieId title genres", movies)
    rows = [(r.user_id, r.item_id, r.half_stars / 2, r.timestamp) for r in ratings]
    write_table(out_dir / "ratings.csv", "userId movieId rating timestamp", rows)
    write_table(out_dir / "tags.csv", "userId movieId tag timestamp", tags)
    far = 99_000_000  # no film of the real world has such a number
    numbers = [
        (film.item_id, far + film.item_id, "" if film.item_id % 40 == 7 else far + film.item_id)
        for film in films
    ]
    write_table(out_dir / "links.csv", "movieId imdbId tmdbId", numbers)
    triples = make_kg(catalogue, without_triples)
    write_table(out_dir / "kg.tsv", "head_id relation_id tail_id", triples)
    links = [(film.item_id, film.key) for film in films if film.key not in unlinked]
    write_table(out_dir / "links.tsv", "item_id entity_id", links)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Makes the sample data again.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to")
    write_sample_data(parser.parse_args().out)
