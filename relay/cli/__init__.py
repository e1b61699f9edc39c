"""The commands that look into the database and change it: one module for each group, `relay GROUP COMMAND`.

They open the database themselves, so they work whether or not a daemon runs on it, and what they change a running
daemon sees at once.
"""
