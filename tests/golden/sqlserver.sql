-- migration 0001
CREATE TABLE account_summary (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    at BIGINT NOT NULL,
    cash VARCHAR(40) NOT NULL,
    equity VARCHAR(40) NOT NULL,
    buying_power VARCHAR(40) NOT NULL,
    positions NVARCHAR(max) NOT NULL,
    allocation_id VARCHAR(16) COLLATE Latin1_General_BIN2 NULL,
    PRIMARY KEY (account, at)
);
GO

-- migration 0001
CREATE TABLE activities (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    id VARCHAR(100) COLLATE Latin1_General_BIN2 NOT NULL,
    type VARCHAR(10) NOT NULL,
    at BIGINT NOT NULL,
    symbol VARCHAR(16) COLLATE Latin1_General_BIN2 NULL,
    side VARCHAR(4) NULL,
    qty VARCHAR(40) NULL,
    price VARCHAR(40) NULL,
    net_amount VARCHAR(40) NOT NULL,
    order_id VARCHAR(64) COLLATE Latin1_General_BIN2 NULL,
    PRIMARY KEY (account, id)
);
GO

-- migration 0001
CREATE TABLE allocations (
    id VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    bucket VARCHAR(200) NOT NULL,
    object VARCHAR(200) COLLATE Latin1_General_BIN2 NOT NULL,
    generation BIGINT NOT NULL,
    as_of BIGINT NULL,
    expires_at BIGINT NULL,
    policy VARCHAR(120) COLLATE Latin1_General_BIN2 NOT NULL,
    model_id VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    status VARCHAR(20) NOT NULL,
    reason NVARCHAR(max) NOT NULL,
    weights NVARCHAR(max) NOT NULL,
    received_at BIGINT NOT NULL,
    finished_at BIGINT NULL,
    fence INTEGER NOT NULL,
    leased_until FLOAT(53) NOT NULL,
    PRIMARY KEY (id)
);
GO

-- migration 0001
CREATE TABLE decisions (
    object VARCHAR(200) COLLATE Latin1_General_BIN2 NOT NULL,
    as_of BIGINT NOT NULL,
    policy VARCHAR(120) COLLATE Latin1_General_BIN2 NOT NULL,
    model_id VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    method VARCHAR(60) NOT NULL,
    reason NVARCHAR(max) NOT NULL,
    sharpe FLOAT(53) NULL,
    bound_gap FLOAT(53) NULL,
    tau FLOAT(53) NULL,
    gain_bp FLOAT(53) NULL,
    cost_bp FLOAT(53) NULL,
    document NVARCHAR(max) NOT NULL,
    PRIMARY KEY (object)
);
GO

-- migration 0001
CREATE TABLE forecasts (
    model_id VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    as_of BIGINT NOT NULL,
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    step INTEGER NOT NULL,
    ts BIGINT NOT NULL,
    [close] FLOAT(53) NOT NULL,
    q05 FLOAT(53) NOT NULL,
    q25 FLOAT(53) NOT NULL,
    q50 FLOAT(53) NOT NULL,
    q75 FLOAT(53) NOT NULL,
    q95 FLOAT(53) NOT NULL,
    PRIMARY KEY (model_id, as_of, ticker, step)
);
GO

-- migration 0001
CREATE TABLE history (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    at BIGINT NOT NULL,
    equity VARCHAR(40) NOT NULL,
    profit_loss VARCHAR(40) NULL,
    PRIMARY KEY (account, at)
);
GO

-- migration 0001
CREATE TABLE market (
    name VARCHAR(20) COLLATE Latin1_General_BIN2 NOT NULL,
    [identity] VARCHAR(100) NOT NULL,
    seen_at BIGINT NULL,
    PRIMARY KEY (name)
);
GO

-- migration 0001
CREATE TABLE orders (
    id VARCHAR(128) COLLATE Latin1_General_BIN2 NOT NULL,
    allocation_id VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    symbol VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    side VARCHAR(4) NOT NULL,
    attempt INTEGER NOT NULL,
    qty VARCHAR(40) NOT NULL,
    reference_price FLOAT(53) NOT NULL,
    status VARCHAR(20) NOT NULL,
    filled_qty VARCHAR(40) NOT NULL,
    filled_average_price FLOAT(53) NULL,
    broker_id VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    reason NVARCHAR(max) NOT NULL,
    planned_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
GO

-- migration 0001
CREATE INDEX ix_orders_allocation_id ON orders (allocation_id);
GO

-- migration 0001
CREATE TABLE price_history (
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    ts BIGINT NOT NULL,
    [open] FLOAT(53) NOT NULL,
    high FLOAT(53) NOT NULL,
    low FLOAT(53) NOT NULL,
    [close] FLOAT(53) NOT NULL,
    volume BIGINT NOT NULL,
    known_from BIGINT NOT NULL,
    PRIMARY KEY (ticker, ts)
);
GO

-- migration 0001
CREATE TABLE price_revisions (
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    ts BIGINT NOT NULL,
    replaced_at BIGINT NOT NULL,
    [open] FLOAT(53) NOT NULL,
    high FLOAT(53) NOT NULL,
    low FLOAT(53) NOT NULL,
    [close] FLOAT(53) NOT NULL,
    volume BIGINT NOT NULL,
    known_from BIGINT NOT NULL,
    PRIMARY KEY (ticker, ts, replaced_at)
);
GO

-- migration 0001
CREATE TABLE runs (
    id VARCHAR(40) COLLATE Latin1_General_BIN2 NOT NULL,
    job VARCHAR(60) NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT NULL,
    status VARCHAR(20) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    PRIMARY KEY (id)
);
GO

-- migration 0001
CREATE TABLE shadow_books (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    policy VARCHAR(120) COLLATE Latin1_General_BIN2 NOT NULL,
    at BIGINT NOT NULL,
    equity VARCHAR(40) NOT NULL,
    cash VARCHAR(40) NOT NULL,
    shares NVARCHAR(max) NOT NULL,
    PRIMARY KEY (account, policy, at)
);
GO

-- migration 0001
CREATE TABLE universe (
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    name NVARCHAR(200) NOT NULL,
    sector NVARCHAR(60) NOT NULL,
    industry NVARCHAR(120) NOT NULL,
    tradable BIT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_to BIGINT NULL,
    PRIMARY KEY (ticker, valid_from)
);
GO

-- migration 0002
ALTER TABLE price_history ADD feed SMALLINT NOT NULL DEFAULT 0;
GO

-- migration 0002
ALTER TABLE price_revisions ADD feed SMALLINT NOT NULL DEFAULT 0;
GO

-- migration 0002
CREATE INDEX ix_price_history_other_feeds ON price_history (ticker, ts) WHERE feed <> 0;
GO

-- migration 0002
CREATE TABLE quarantine (
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    ts BIGINT NOT NULL,
    reason VARCHAR(20) COLLATE Latin1_General_BIN2 NOT NULL,
    [open] FLOAT(53) NULL,
    high FLOAT(53) NULL,
    low FLOAT(53) NULL,
    [close] FLOAT(53) NULL,
    volume FLOAT(53) NULL,
    feed SMALLINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (ticker, ts, reason)
);
GO

-- migration 0002
CREATE TABLE ticker_status (
    ticker VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    source VARCHAR(20) NOT NULL,
    status VARCHAR(20) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    asked_at BIGINT NOT NULL,
    answered_at BIGINT NULL,
    PRIMARY KEY (ticker)
);
GO

-- migration 0002
CREATE TABLE sources (
    name VARCHAR(20) COLLATE Latin1_General_BIN2 NOT NULL,
    hour BIGINT NOT NULL,
    spent INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    retry_at FLOAT(53) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    feed VARCHAR(20) NOT NULL,
    asked_at BIGINT NULL,
    PRIMARY KEY (name)
);
GO

-- migration 0002
CREATE TABLE versions (
    name VARCHAR(20) COLLATE Latin1_General_BIN2 NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (name)
);
GO

-- migration 0002
INSERT INTO versions (name, value) VALUES ('prices', 0), ('books', 0);
GO

-- migration 0003
ALTER TABLE forecasts ADD q10 FLOAT(53) NULL;
GO

-- migration 0003
ALTER TABLE forecasts ADD q90 FLOAT(53) NULL;
GO

-- migration 0004
CREATE TABLE backtests (
    id VARCHAR(12) COLLATE Latin1_General_BIN2 NOT NULL,
    made_at BIGINT NOT NULL,
    market VARCHAR(100) NOT NULL,
    data_hash VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    hours VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    outcome VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    frequency VARCHAR(10) NOT NULL,
    policy VARCHAR(120) COLLATE Latin1_General_BIN2 NOT NULL,
    parameters NVARCHAR(max) NOT NULL,
    total_return FLOAT(53) NOT NULL,
    return_0x FLOAT(53) NOT NULL,
    return_2x FLOAT(53) NOT NULL,
    max_drawdown FLOAT(53) NOT NULL,
    turnover FLOAT(53) NOT NULL,
    cost_bp FLOAT(53) NOT NULL,
    winning_trades INTEGER NOT NULL,
    losing_trades INTEGER NOT NULL,
    sharpe FLOAT(53) NULL,
    sharpe_error FLOAT(53) NULL,
    steps INTEGER NOT NULL,
    step_sharpe FLOAT(53) NULL,
    skew FLOAT(53) NULL,
    kurtosis FLOAT(53) NULL,
    equity NVARCHAR(max) NOT NULL,
    times NVARCHAR(max) NOT NULL,
    model_id VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    code_version VARCHAR(60) NOT NULL,
    PRIMARY KEY (id)
);
GO

-- migration 0004
CREATE INDEX ix_backtests_hours ON backtests (hours);
GO

-- migration 0005
ALTER TABLE allocations ADD keep NVARCHAR(max) NULL;
GO

-- migration 0005
ALTER TABLE allocations ADD coverage FLOAT(53) NULL;
GO

-- migration 0005
ALTER TABLE allocations ADD trained_until BIGINT NULL;
GO

-- migration 0005
ALTER TABLE orders ADD type VARCHAR(10) NOT NULL DEFAULT 'market';
GO

-- migration 0005
ALTER TABLE orders ADD limit_price FLOAT(53) NULL;
GO

-- migration 0005
ALTER TABLE orders ADD due_at BIGINT NULL;
GO

-- migration 0005
ALTER TABLE orders ADD sent_at BIGINT NULL;
GO

-- migration 0005
CREATE TABLE plan_lines (
    allocation_id VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    symbol VARCHAR(16) COLLATE Latin1_General_BIN2 NOT NULL,
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    planned_at BIGINT NOT NULL,
    price FLOAT(53) NULL,
    decision_price FLOAT(53) NULL,
    weight_before FLOAT(53) NOT NULL,
    weight_target FLOAT(53) NOT NULL,
    weight_planned FLOAT(53) NOT NULL,
    parts NVARCHAR(max) NOT NULL,
    reason NVARCHAR(max) NOT NULL,
    PRIMARY KEY (allocation_id, symbol)
);
GO

-- migration 0005
CREATE TABLE trading_states (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    state VARCHAR(10) NOT NULL,
    reason NVARCHAR(max) NOT NULL,
    changed_by VARCHAR(60) NOT NULL,
    since BIGINT NOT NULL,
    lift_code VARCHAR(16) NOT NULL,
    lift_until FLOAT(53) NOT NULL,
    accepted NVARCHAR(max) NOT NULL,
    PRIMARY KEY (account)
);
GO

-- migration 0005
CREATE TABLE reconciliations (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    at BIGINT NOT NULL,
    status VARCHAR(20) NOT NULL,
    cash_diff VARCHAR(40) NOT NULL,
    share_diffs NVARCHAR(max) NOT NULL,
    order_diffs NVARCHAR(max) NOT NULL,
    value_diff FLOAT(53) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    PRIMARY KEY (account, at)
);
GO

-- migration 0005
CREATE TABLE audit_log (
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    kind VARCHAR(40) NOT NULL,
    subject VARCHAR(128) COLLATE Latin1_General_BIN2 NOT NULL,
    content NVARCHAR(max) NOT NULL,
    previous VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    hash VARCHAR(64) COLLATE Latin1_General_BIN2 NOT NULL,
    PRIMARY KEY (seq)
);
GO

-- migration 0005
CREATE INDEX ix_orders_account_planned_at ON orders (account, planned_at);
GO

-- migration 0005
CREATE INDEX ix_activities_account_at ON activities (account, at);
GO

-- migration 0006
CREATE TABLE alerts (
    [key] VARCHAR(120) COLLATE Latin1_General_BIN2 NOT NULL,
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    opened_at BIGINT NOT NULL,
    severity VARCHAR(10) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    seen_at BIGINT NOT NULL,
    told_at BIGINT NULL,
    closed_at BIGINT NULL,
    over_told_at BIGINT NULL,
    PRIMARY KEY ([key], account, opened_at)
);
GO

-- migration 0006
CREATE TABLE twins (
    account VARCHAR(60) COLLATE Latin1_General_BIN2 NOT NULL,
    session BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    status VARCHAR(20) NOT NULL,
    live VARCHAR(40) NOT NULL,
    twin VARCHAR(40) NOT NULL,
    parts NVARCHAR(max) NOT NULL,
    lines NVARCHAR(max) NOT NULL,
    message NVARCHAR(max) NOT NULL,
    PRIMARY KEY (account, session)
);
GO

-- migration 0006
CREATE INDEX ix_runs_job_started_at ON runs (job, started_at);
GO

-- once for each connection: temp tables, empty between transactions
DROP TABLE IF EXISTS #staged_bars;
DROP TABLE IF EXISTS #windows;
CREATE TABLE #staged_bars (
    ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL, ts bigint NOT NULL,
    [open] float(53) NOT NULL, [high] float(53) NOT NULL, [low] float(53) NOT NULL,
    [close] float(53) NOT NULL, [volume] bigint NOT NULL, [known_from] bigint NOT NULL,
    [feed] smallint NOT NULL, PRIMARY KEY (ticker, ts)
);
CREATE TABLE #windows (
    n int NOT NULL PRIMARY KEY, ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL,
    [start] bigint NOT NULL, [end] bigint NOT NULL
);
GO

-- a transaction that writes; so for schema and books
SET NOCOUNT ON;
SET XACT_ABORT ON;
SET LOCK_TIMEOUT 60000;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRAN;
DECLARE @granted int;
EXEC @granted = sp_getapplock @Resource = 'astra-prices', @LockMode = 'Exclusive',
    @LockOwner = 'Transaction', @LockTimeout = 60000;
IF @granted < 0 ROLLBACK TRAN;
SET NOCOUNT OFF;
SELECT @granted;
GO

-- a transaction that reads
SET LOCK_TIMEOUT 60000;
IF (SELECT snapshot_isolation_state FROM sys.databases WHERE name = DB_NAME()) = 1
    SET TRANSACTION ISOLATION LEVEL SNAPSHOT;
ELSE
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
BEGIN TRAN;
GO

-- its end
COMMIT TRAN;
GO

-- its end after an error
IF @@TRANCOUNT > 0 ROLLBACK TRAN;
GO

-- the last bar of each ticker
SET NOCOUNT ON;
DECLARE @found TABLE (
    ticker varchar(16) COLLATE Latin1_General_BIN2 NOT NULL PRIMARY KEY, ts bigint NOT NULL
);
DECLARE @ticker varchar(16), @ts bigint;
SELECT TOP (1) @ticker = ticker, @ts = ts FROM price_history ORDER BY ticker DESC, ts DESC;
WHILE @@ROWCOUNT = 1
BEGIN
    INSERT INTO @found (ticker, ts) VALUES (@ticker, @ts);
    SELECT TOP (1) @ticker = ticker, @ts = ts FROM price_history
        WHERE ticker < @ticker ORDER BY ticker DESC, ts DESC;
END;
SET NOCOUNT OFF;
SELECT ticker, ts FROM @found ORDER BY ticker;
GO

-- windows: nothing left from before
DELETE FROM #windows;
GO

-- windows: one row each, as an array of parameters
INSERT INTO #windows VALUES (?, ?, ?, ?);
GO

-- bars of the windows, all fields
SELECT w.n, v.[ts], v.[open], v.[high], v.[low], v.[close], v.[volume], v.[known_from], v.[feed]
FROM #windows w JOIN price_history v ON v.ticker = w.ticker AND v.ts >= w.[start] AND v.ts < w.[end]
ORDER BY w.n, v.ts
OPTION (LOOP JOIN, FORCE ORDER);
GO

-- as known at a time, all fields
SELECT v.n, v.[ts], v.[open], v.[high], v.[low], v.[close], v.[volume], v.[known_from], v.[feed] FROM (
    SELECT w.n, p.[ts], p.[open], p.[high], p.[low], p.[close], p.[volume], p.[known_from], p.[feed] FROM #windows w JOIN price_history p
    ON p.ticker = w.ticker AND p.ts >= w.[start] AND p.ts < w.[end] AND p.known_from <= ?
    UNION ALL SELECT w.n, r.[ts], r.[open], r.[high], r.[low], r.[close], r.[volume], r.[known_from], r.[feed] FROM #windows w JOIN price_revisions r
    ON r.ticker = w.ticker AND r.ts >= w.[start] AND r.ts < w.[end] AND r.known_from <= ? AND r.replaced_at > ?
) v ORDER BY v.n, v.ts
OPTION (LOOP JOIN, FORCE ORDER);
GO

-- bars of the windows, some fields
SELECT w.n, v.[ts], v.[close]
FROM #windows w JOIN price_history v ON v.ticker = w.ticker AND v.ts >= w.[start] AND v.ts < w.[end]
ORDER BY w.n, v.ts
OPTION (LOOP JOIN, FORCE ORDER);
GO

-- as known at a time, some fields
SELECT v.n, v.[ts], v.[close] FROM (
    SELECT w.n, p.[ts], p.[open], p.[high], p.[low], p.[close], p.[volume], p.[known_from], p.[feed] FROM #windows w JOIN price_history p
    ON p.ticker = w.ticker AND p.ts >= w.[start] AND p.ts < w.[end] AND p.known_from <= ?
    UNION ALL SELECT w.n, r.[ts], r.[open], r.[high], r.[low], r.[close], r.[volume], r.[known_from], r.[feed] FROM #windows w JOIN price_revisions r
    ON r.ticker = w.ticker AND r.ts >= w.[start] AND r.ts < w.[end] AND r.known_from <= ? AND r.replaced_at > ?
) v ORDER BY v.n, v.ts
OPTION (LOOP JOIN, FORCE ORDER);
GO

-- a load that is mostly new: an array of parameters
INSERT INTO price_history (ticker, [ts], [open], [high], [low], [close], [volume], [known_from], [feed]) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
GO

-- a load that changes: nothing left from before
TRUNCATE TABLE #staged_bars;
GO

-- stage what differs, an array of parameters
INSERT INTO #staged_bars VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
GO

-- merge: what is replaced becomes a revision
INSERT INTO price_revisions (ticker, [ts], [open], [high], [low], [close], [volume], [known_from], [feed], replaced_at)
SELECT p.ticker, p.[ts], p.[open], p.[high], p.[low], p.[close], p.[volume], p.[known_from], p.[feed], s.known_from
FROM #staged_bars s JOIN price_history p ON p.ticker = s.ticker AND p.ts = s.ts
WHERE p.known_from < s.known_from;
GO

-- merge: overwrite
UPDATE p SET [open] = s.[open], [high] = s.[high], [low] = s.[low], [close] = s.[close], [volume] = s.[volume], [known_from] = s.[known_from], [feed] = s.[feed]
FROM price_history p WITH (UPDLOCK, HOLDLOCK) JOIN #staged_bars s ON p.ticker = s.ticker AND p.ts = s.ts;
GO

-- merge: insert
INSERT INTO price_history (ticker, [ts], [open], [high], [low], [close], [volume], [known_from], [feed])
SELECT s.ticker, s.[ts], s.[open], s.[high], s.[low], s.[close], s.[volume], s.[known_from], s.[feed] FROM #staged_bars s
WHERE NOT EXISTS (SELECT 1 FROM price_history p WITH (UPDLOCK, HOLDLOCK) WHERE p.ticker = s.ticker AND p.ts = s.ts)
ORDER BY s.ticker, s.ts;
GO

-- insert_new: which of two forecasts are known
SELECT forecasts.model_id, forecasts.as_of, forecasts.ticker, forecasts.step
FROM forecasts
WHERE forecasts.model_id IN (?) AND forecasts.as_of IN (?) AND forecasts.ticker IN (?, ?) AND forecasts.step IN (?, ?);
GO

-- insert_new, upsert: those that are not, many rows at a time
INSERT INTO forecasts (model_id, as_of, ticker, step, ts, [close], q05, q25, q50, q75, q95, q10, q90) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
GO

-- upsert: two bars as they are held
SELECT price_history.ticker, price_history.ts, price_history.[open], price_history.high, price_history.low, price_history.[close], price_history.volume, price_history.known_from, price_history.feed
FROM price_history
WHERE price_history.ticker IN (?) AND price_history.ts IN (?, ?);
GO

-- upsert: one that has changed
UPDATE price_history SET [close]=?, known_from=? WHERE price_history.ticker = ? AND price_history.ts = ?;
GO

-- there is something new to read
UPDATE versions SET value=CASE WHEN (versions.value = ?) THEN ? ELSE versions.value + ? END WHERE versions.name = ?;
GO
