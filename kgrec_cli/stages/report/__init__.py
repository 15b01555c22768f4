"""`kgrec report`: runs, a study or a data set in, one HTML file out.

`run.py` finds what is meant and measures it, `data_card.py` and `charts.py` make sections and
figures of it, `page.py` writes them into `page.html`.
"""
