"""Modules of `jaxmarl`: the package's names, its environments in a table, how one is made, played, told and drawn."""
