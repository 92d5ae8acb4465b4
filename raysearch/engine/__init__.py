"""The engine: what is asked is run, what is run is told, whatever goes wrong meanwhile."""
