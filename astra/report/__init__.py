"""One session's day of the account on one page, as HTML and as PDF with the same content.

`day` reads the store, `sheet` puts it into words, `web` and `paper` write it down. Figures are
those of the modules that everything else takes them from; none is defined here.
"""
