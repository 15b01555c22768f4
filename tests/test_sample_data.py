import csv
import itertools
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

SAMPLE_DIR = Path(__file__).parents[1] / "sample_data"
NAMES = ("movies.csv", "ratings.csv", "tags.csv", "links.csv", "kg.tsv", "links.tsv")


def read(name: str) -> list[dict[str, str]]:
    with (SAMPLE_DIR / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if name.endswith(".tsv") else ","))


def histories() -> dict[str, list[str]]:
    """Films by user, in time order, ties in the order of the file."""
    by_user = defaultdict(list)
    for row in sorted(read("ratings.csv"), key=lambda row: int(row["timestamp"])):
        by_user[row["userId"]].append(row["movieId"])
    return by_user


def test_the_script_makes_the_same_bytes(tmp_path):
    script = str(SAMPLE_DIR / "make.py")
    subprocess.run([sys.executable, "-I", script, "--out", str(tmp_path)], check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (SAMPLE_DIR / name).read_bytes(), name


def test_size():
    assert len(read("movies.csv")) == 400
    assert len(histories()) == 300
    assert len(read("ratings.csv")) == 19_257
    assert sum((SAMPLE_DIR / name).stat().st_size for name in NAMES) < 1_000_000


def test_headers_are_those_of_grouplens():
    headers = {name: (SAMPLE_DIR / name).read_text("utf-8").partition("\n")[0] for name in NAMES}
    assert headers == {
        "movies.csv": "movieId,title,genres",
        "ratings.csv": "userId,movieId,rating,timestamp",
        "tags.csv": "userId,movieId,tag,timestamp",
        "links.csv": "movieId,imdbId,tmdbId",
        "kg.tsv": "head_id\trelation_id\ttail_id",
        "links.tsv": "item_id\tentity_id",
    }


def test_flaws_of_the_films():
    movies = read("movies.csv")
    titles = [row["title"] for row in movies]
    assert sum(not re.search(r"\(\d{4}\)$", title) for title in titles) == 4
    assert sum(row["genres"] == "(no genres listed)" for row in movies) == 5
    assert sum(n == 2 for n in Counter(titles).values()) == 2
    assert sum("," in title for title in titles) > 100
    assert sum('"' in title for title in titles) == 2
    assert sum(not title.isascii() for title in titles) == 5
    ids = [int(row["movieId"]) for row in movies]
    assert ids == sorted(set(ids))
    assert max(ids) > 500  # with gaps


def test_flaws_of_the_ratings():
    ratings = read("ratings.csv")
    known = {row["movieId"] for row in read("movies.csv")}
    rated = {row["movieId"] for row in ratings}
    assert rated < known
    assert len(known - rated) == 9
    assert {row["rating"] for row in ratings} == {str(half / 2) for half in range(1, 11)}
    pairs = Counter((row["userId"], row["movieId"]) for row in ratings)
    assert sum(n > 1 for n in pairs.values()) == 6
    times = Counter((row["userId"], row["timestamp"]) for row in ratings)
    assert 0.05 < sum(n - 1 for n in times.values()) / len(ratings) < 0.15
    lengths = Counter(len(films) for films in histories().values())
    assert (lengths[1], lengths[2]) == (1, 1)
    order = [(int(row["userId"]), int(row["movieId"])) for row in ratings]
    assert order == sorted(order)  # as GroupLens sorts: not by time


def test_flaws_of_the_links():
    links = read("links.tsv")
    triples = read("kg.tsv")
    entities = {row["head_id"] for row in triples} | {row["tail_id"] for row in triples}
    known = {row["movieId"] for row in read("movies.csv")}
    assert {row["item_id"] for row in links} < known
    assert len(known) - len(links) == 14
    linked = Counter(row["entity_id"] for row in links)
    assert sum(n == 2 for n in linked.values()) == 2
    assert sum(entity not in entities for entity in linked) == 3
    assert {name.partition("/")[0] for name in entities} == {
        *("film", "person", "genre", "theme", "studio", "decade", "series"),
    }


def test_the_triples_are_what_the_films_say():
    triples = {(row["head_id"], row["relation_id"], row["tail_id"]) for row in read("kg.tsv")}
    assert len(triples) == len(read("kg.tsv"))
    series = {head: tail for head, relation, tail in triples if relation == "part_of"}
    after = {head: tail for head, relation, tail in triples if relation == "followed_by"}
    assert len(after) > 40
    assert all(series[head] == series[tail] for head, tail in after.items())
    director = {head: tail for head, relation, tail in triples if relation == "directed_by"}
    assert all(director[head] == director[tail] for head, tail in after.items())


def hit_rate(ranked_for) -> float:
    """Share of users whose last film is in the ten that `ranked_for(prefix)` names."""
    users = [films for films in histories().values() if len(films) >= 3]
    return sum(films[-1] in ranked_for(films[:-1])[:10] for films in users) / len(users)


def test_what_comes_next_can_be_learned():
    training = [films[:-2] for films in histories().values()]
    counts = Counter(film for films in training for film in films)
    popular = [film for film, _ in counts.most_common()]
    follows = defaultdict(Counter)
    for films in training:
        for film, after in itertools.pairwise(films):
            follows[film][after] += 1
    by_popularity = hit_rate(lambda prefix: popular)
    by_last_film = hit_rate(lambda prefix: [f for f, _ in follows[prefix[-1]].most_common(10)])
    assert by_popularity < 0.1
    assert by_last_film > 4 * by_popularity
    assert by_last_film < 0.6  # and not too easily


def test_taste_follows_the_graph():
    entity = {row["item_id"]: row["entity_id"] for row in read("links.tsv")}
    themes = defaultdict(set)
    for row in read("kg.tsv"):
        if row["relation_id"] == "has_theme":
            themes[row["head_id"]].add(row["tail_id"])
    same, shuffled, pairs = 0, 0, 0
    films_of_all = [film for films in histories().values() for film in films]
    for place, (film, after) in enumerate(itertools.pairwise(films_of_all)):
        anyone = films_of_all[(place * 7919) % len(films_of_all)]
        here, there, elsewhere = (themes[entity.get(f, "")] for f in (film, after, anyone))
        if here and there and elsewhere:
            pairs += 1
            same += bool(here & there)
            shuffled += bool(here & elsewhere)
    assert same / pairs > 3 * shuffled / pairs


def normal(title: str) -> str:
    """A title without its year, article, case, marks."""
    title = re.sub(r"\s*\(\d{4}\)\s*$", "", title.casefold())
    title = re.sub(r", (the|a|an|l'|der)$|^(the|a|an) ", "", title)
    return re.sub(r"[^a-z0-9]", "", title)


@pytest.mark.real_data
def test_no_film_is_a_real_one(real_data_dir):
    real = set()
    with (real_data_dir / "ml-latest-small" / "movies.csv").open(encoding="utf-8") as file:
        real |= {normal(row["title"]) for row in csv.DictReader(file)}
    lines = (real_data_dir / "ml-1m" / "movies.dat").read_text("latin-1").splitlines()
    real |= {normal(line.split("::")[1]) for line in lines}
    assert len(real) > 9_000
    assert "toystory" in real
    assert {normal(row["title"]) for row in read("movies.csv")} & real == set()
