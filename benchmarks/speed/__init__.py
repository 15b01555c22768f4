"""How fast kgrec is, as ratios in one run: beside RecBole, or beside an earlier commit."""
