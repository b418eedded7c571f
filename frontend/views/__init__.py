"""One module for each page, with `show(page)`. (Streamlit takes a folder `pages` for its own.)"""
