"""Figures from frames, pure: no store, no network, no Streamlit."""
