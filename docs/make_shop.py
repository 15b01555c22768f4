"""Makes the files of the tutorial "Your own shop and graph": an invented shop of seeds.

    python make_shop.py

writes five files into the current folder, each time the same bytes: `clicks.csv` (user, item,
time), `items.csv` (a table of the items), `triples.tsv` (the graph), `links.tsv` (item to entity)
and `wrong_links.tsv` (the same entities, each of another item). Customers choose by what the graph
says, so nothing here shows what a graph is worth on other data.
"""

import csv
import random
from pathlib import Path

N_SPECIES, N_ITEMS, N_USERS = 60, 1500, 2500
FIRST_TIME, DAY = 1_735_689_600, 86_400  # 2025-01-01
LIGHTS = ("sun", "half shade", "shade")
COLOURS = ("amber", "blue", "cream", "green", "lilac", "orange", "red", "white")
BREEDERS = ("Alder & Sons", "Brook Farm", "Cold Hill", "Dry Valley", "East Field", "Fern House")
STARTS = ("Bel", "Cor", "Dal", "Fen", "Gar", "Hol", "Kel", "Lor", "Mar", "Nor", "Pel", "Ros")
ENDS = ("abine", "ette", "isk", "olia", "umber")


def main() -> None:
    """Writes the five files."""
    rng = random.Random(22)
    species = [start + end for start in STARTS for end in ENDS]
    family = {name: f"{name[:3]}aceae" for name in species}
    light = {name: rng.choice(LIGHTS) for name in species}
    # A species grows well with two others, most of them not of its family.
    companions = {name: rng.sample([other for other in species if other != name], 2)
                  for name in species}  # fmt: skip
    items = []
    for number in range(N_ITEMS):
        of, breeder = rng.choice(species), rng.choice(BREEDERS)
        colour = rng.choice(COLOURS)
        title = f"{of} {colour.title()} No. {number + 1}"
        items.append((f"S{number + 1:04d}", title, of, breeder, light[of], colour))
    rng.shuffle(items)  # so that popularity has nothing to do with the number
    write_csv("clicks.csv", ("user", "item", "time"), clicks(rng, items, companions))
    head = ("item", "title", "species", "breeder", "light", "colour")
    write_csv("items.csv", head, sorted(items))

    triples = []
    for item, _, of, breeder, _, colour in sorted(items):
        triples += [(f"seed/{item}", "of_species", of), (f"seed/{item}", "bred_by", breeder)]
        triples += [(f"seed/{item}", "has_colour", colour)]
    for name in species:
        triples += [(name, "grows_well_with", other) for other in companions[name]]
        triples += [(name, "of_family", family[name]), (name, "likes", light[name])]
    write_csv("triples.tsv", ("head", "relation", "tail"), triples, "\t")
    linked = [item for item, *_ in sorted(items) if rng.random() < 0.97]
    right = [(item, f"seed/{item}") for item in linked]
    write_csv("links.tsv", ("item", "entity"), right, "\t")
    shuffled = rng.sample(linked, len(linked))
    wrong = [(item, f"seed/{other}") for item, other in zip(linked, shuffled, strict=True)]
    write_csv("wrong_links.tsv", ("item", "entity"), wrong, "\t")


def clicks(
    rng: random.Random, items: list[tuple[str, ...]], companions: dict[str, list[str]]
) -> list[tuple[str, str, int]]:
    """What customers looked at: of ten steps, six lead to a species that grows well with the last.

    Two stay with the species, two go anywhere. Within a species a customer likes one breeder four
    times as much as the others; a few items are popular and most are not.
    """
    of_species: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        of_species.setdefault(item[2], []).append(place)
    popularity = [1 / (1 + place / 50) for place in range(len(items))]
    rows = []
    for user in range(N_USERS):
        liked, species = rng.choice(BREEDERS), rng.choice(list(of_species))
        time = FIRST_TIME + rng.randrange(300 * DAY)
        for _ in range(rng.randint(4, 14)):
            step = rng.random()
            if step < 0.6:
                species = rng.choice(companions[species])
            elif step >= 0.8:
                species = rng.choice(list(of_species))
            places = of_species[species]
            weights = [popularity[n] * (4 if items[n][3] == liked else 1) for n in places]
            rows.append((f"u{user + 1}", items[rng.choices(places, weights)[0]][0], time))
            time += rng.randrange(60, 3 * DAY)
    return sorted(rows, key=lambda row: row[2])


def write_csv(
    name: str, head: tuple[str, ...], rows: list[tuple[object, ...]], between: str = ","
) -> None:
    """Writes a table with its head."""
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=between, lineterminator="\n")
        writer.writerows([head, *rows])


if __name__ == "__main__":
    main()
