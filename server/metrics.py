"""The metrics of the write path and the event loop. Other modules define their own metrics."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_SIZE = Histogram(
    "callboard_batch_size", "Commands in one transaction", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
QUEUE_WAIT = Histogram(
    "callboard_queue_wait_seconds",
    "How long a command waited for its transaction to begin",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
TRANSACTION_TIME = Histogram(
    "callboard_transaction_seconds",
    "Duration of a transaction, from BEGIN to after COMMIT",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
COMMANDS = Counter("callboard_commands", "Commands decided")
REFUSALS = Counter("callboard_refusals", "Commands refused, by the code of the refusal", ["code"])
RERUNS = Counter("callboard_batches_rerun", "Batches that failed and were retried command by command")
LOOP_LAG = Gauge("callboard_loop_lag_seconds", "How late the event loop ran its most recent timer")
