"""Several daemons on one database: which of them is alive, and which is the home of an agent."""
