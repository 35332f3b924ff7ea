"""What Callboard counts about its write path and its nodes, for `/metrics`. Others' metrics stand beside their code."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_SIZE = Histogram(
    "callboard_batch_size", "Commands taken by one transaction", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
QUEUE_WAIT = Histogram(
    "callboard_queue_wait_seconds",
    "How long a command waited for its transaction to begin",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
TRANSACTION_TIME = Histogram(
    "callboard_transaction_seconds",
    "From BEGIN to after COMMIT",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
COMMANDS = Counter("callboard_commands", "Commands that were decided")
REFUSALS = Counter("callboard_refusals", "Commands refused, by the code of the refusal", ["code"])
RERUNS = Counter("callboard_batches_rerun", "Batches that failed as a whole and were run command by command")
LOOP_LAG = Gauge("callboard_loop_lag_seconds", "How late the event loop ran a timer, most recently")
