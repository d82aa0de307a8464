"""What the pipeline counts. Labels are few and bounded: never a tenant, a connection or a text."""

from prometheus_client import Counter, Gauge, Histogram

ACCEPTED = Counter("hub_messages_accepted_total", "Messages handed to the accept statement.")
POISON = Counter("hub_messages_poison_total", "Messages that no row can hold.")
TURNS = Counter("hub_turns_total", "Turns that ended, by end.", ["status"])
FENCED = Counter("hub_commits_fenced_total", "Commits refused because the lease was no longer ours.")
TAKEN_OVER = Counter("hub_turns_taken_over_total", "Turns continued from another worker.")
RUNNING = Gauge("hub_turns_running", "Turns at work in this process.")
DELIVERIES = Counter("hub_deliveries_total", "Send attempts, by outcome.", ["status"])
FIRST_TOKEN = Histogram(
    "hub_first_token_seconds",
    "From the start of a turn to its first text.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
TURN_SECONDS = Histogram(
    "hub_turn_seconds",
    "From the start of a turn to its commit.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
HANDLING = Histogram(
    "hub_handling_seconds",
    "A turn's time less the time spent waiting for models and tools.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
WATCHES = Gauge("hub_watches", "Open web chat and stream watchers in this process.")
LOOP_LAG = Gauge("hub_loop_lag_seconds", "How late the event loop ran its last timer.")
DEAD_WORKERS = Counter("hub_workers_dead_total", "Workers whose lock vanished, found by this process.")
L1_SESSIONS = Gauge("hub_l1_sessions", "Sessions whose state is warm in this process.")
L1_BYTES = Gauge("hub_l1_bytes", "What they take.")
AGENT_POOL = Gauge("hub_agent_pool", "Compiled agents kept in this process.")
BREAKERS = Gauge("hub_breakers", "Circuit breakers of model routes, by state.", ["state"])
MEMORY_SHARE = Gauge("hub_memory_percent", "Share of the machine's (or container's) memory in use.")
PRESSED = Gauge("hub_memory_pressed", "0 at ease, 1 caches shrink, 2 new messages are refused.")
WAITING = Gauge("hub_inbox_waiting", "Messages that wait for the writer.")
