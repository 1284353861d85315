"""The files of a folder of C sources, as templates."""
