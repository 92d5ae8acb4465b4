"""Searches as jobs of a Ray cluster: packed here, run there, watched from anywhere.

pack      the working directory, without secrets, as one archive
jobs      the cluster's job server: its door, versions, submission, logs
keeper    on the cluster: keeps a driver running, on whichever node
leash     on the cluster: ends a program with the one that holds it
"""
