"""``proxyd doctor``: what does not work on this machine, and what to do.

``runtimes`` knows the programs and how each is made to ask for one URL; ``trial`` has them ask through a private daemon
and judges by what that daemon saw; ``machine``, ``folders``, ``daemon`` and ``shell`` look at what surrounds proxyd;
``command`` runs all of it and prints the tables.
"""
