"""The database's history: numbered steps that are only ever appended to. `PRAGMA user_version` counts those done."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE nodes (
        name TEXT PRIMARY KEY, token TEXT NOT NULL, model_name TEXT NOT NULL, model_id TEXT NOT NULL,
        tournament INTEGER NOT NULL, path TEXT NOT NULL, cpu REAL NOT NULL, memory_mib INTEGER NOT NULL,
        timeout_minutes REAL NOT NULL, cron TEXT, cron_after TEXT
    );
    CREATE TABLE deployments (
        node TEXT PRIMARY KEY, executor TEXT NOT NULL, image TEXT NOT NULL, reference TEXT NOT NULL,
        source_hash TEXT NOT NULL, deployed_at TEXT NOT NULL
    );
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, node TEXT NOT NULL, trigger_id TEXT,
        state TEXT NOT NULL, phase TEXT NOT NULL, created_at TEXT NOT NULL, started_at TEXT, ended_at TEXT,
        exit_code INTEGER, failure TEXT, message TEXT, attempt INTEGER NOT NULL DEFAULT 1, not_before TEXT,
        deadline TEXT, executor TEXT, reference TEXT, cancel INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX triggers ON runs (node, trigger_id) WHERE trigger_id IS NOT NULL;
    CREATE INDEX runs_by_node ON runs (node, number);
    CREATE INDEX runs_by_state ON runs (state);
    CREATE TABLE webhook_calls (
        number INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, time TEXT NOT NULL, status INTEGER NOT NULL,
        answer TEXT NOT NULL, trigger_id TEXT
    );
    CREATE INDEX webhook_calls_by_node ON webhook_calls (node, number);
    """,
    """
    ALTER TABLE nodes ADD COLUMN data_version TEXT;
    """,
    """
    ALTER TABLE nodes ADD COLUMN capabilities TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE nodes ADD COLUMN retrain_days INTEGER;
    """,
)
