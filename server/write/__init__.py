"""The write path. The steps of a command, in the order of the files:

1. `executor.py` queues it and takes all waiting commands as one batch; callers get a future.
2. `transaction.py` begins one transaction for the batch, on a connection of the write path.
3. `load.py` locks the rows that the commands name, deliveries before drivers, and reads them into a world.
4. `batch.py` lets the rules (`dispatch/decide.py`) decide one command after another, applies their events to the world,
   and creates the drivers' messages. A command that needs a row which is not locked waits for the next batch.
5. `transaction.py` adds the rows for webhooks; `save.py` writes everything in one statement; then COMMIT. If the
   connection is lost during COMMIT, the database is asked for the outcome.
6. `batch.py` sets the answers and describes the commit (`contract/commit.py`).
7. `executor.py` calls the listeners; callers get their answers afterwards.

A batch that fails as a whole is repeated command by command (`executor.py`, `_run_alone`). Other packages import only
`executor.py`.
"""
