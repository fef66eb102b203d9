-- evo's database, version 1: everything a search has tried, and what came of it.
--
-- One process writes (the daemon); any number may read, also while it runs. For people there are
-- the views best_kernel, leaderboard and lineage at the end:
--
--     sqlite3 -box evo.db 'SELECT * FROM best_kernel'
--     sqlite3 -box evo.db 'SELECT rank, id, time_us, gain, genes FROM leaderboard LIMIT 10'
--     sqlite3 -box evo.db "SELECT * FROM lineage WHERE place = 147"
--
-- A candidate is named by its place in its run: 'n147' is place 147. Times at which something
-- happened are milliseconds since 1970, UTC. Hashes are BLAKE2b-256 in hexadecimal; NULL where there
-- is none. Unsigned 64-bit numbers (seeds) are stored as the signed number with the same bits.

PRAGMA application_id = 1702260529; -- "evo1": tells file(1), and evo, whose database this is

-- A search: its seed as it was read, its device, its budget (0: unlimited) and what it has used.
CREATE TABLE run (
    id                 INTEGER PRIMARY KEY,
    name               TEXT    NOT NULL,
    seed_path          TEXT    NOT NULL,
    seed_text          TEXT    NOT NULL,
    device_spec        TEXT    NOT NULL, -- auto, cuda:0, replay:FILE
    strategy           TEXT    NOT NULL, -- evo, random
    evo_version        TEXT    NOT NULL,
    device             TEXT    NOT NULL, -- the model its judges run on; '' until the first says
    device_arch        INTEGER NOT NULL, -- and what feasibility asks of it; see environment
    device_smem_max    INTEGER NOT NULL,
    device_sms         INTEGER NOT NULL,
    boot_id            TEXT    NOT NULL, -- of the host it last ran on: a dead host, or only evo?
    rng_seed           INTEGER NOT NULL,
    secret             INTEGER NOT NULL, -- the gate's inputs are drawn from it
    budget_evaluations INTEGER NOT NULL CHECK (budget_evaluations >= 0),
    budget_wall_ms     INTEGER NOT NULL CHECK (budget_wall_ms >= 0),
    budget_device_ms   INTEGER NOT NULL CHECK (budget_device_ms >= 0),
    state              TEXT    NOT NULL CHECK (state IN ('open', 'finished')),
    ended_because      TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    elapsed_ms         INTEGER NOT NULL CHECK (elapsed_ms >= 0), -- over all starts
    device_ms          REAL    NOT NULL CHECK (device_ms >= 0),
    flops              REAL    NOT NULL DEFAULT 0, -- of its problems, geometric mean; 0: unknown
    CHECK (state = 'finished' OR ended_because = '')
) STRICT;

-- The shapes of a run's workload; cases, timings and scores name them by idx.
CREATE TABLE problem (
    run   INTEGER NOT NULL REFERENCES run(id),
    idx   INTEGER NOT NULL CHECK (idx >= 0),
    text  TEXT    NOT NULL, -- 1x8x512x64:causal
    flops REAL    NOT NULL CHECK (flops >= 0),
    PRIMARY KEY (run, idx)
) STRICT, WITHOUT ROWID;

-- The templates as they were when the run began, so that it goes on under edited files.
CREATE TABLE template (
    run  INTEGER NOT NULL REFERENCES run(id),
    name TEXT    NOT NULL,
    path TEXT    NOT NULL,
    text TEXT    NOT NULL,
    PRIMARY KEY (run, name)
) STRICT;

-- What a worker said it is: the tools and the device that results depend on. Results of different
-- environments are never taken for one another.
CREATE TABLE environment (
    id              INTEGER PRIMARY KEY,
    role            TEXT    NOT NULL CHECK (role IN ('compile', 'judge')),
    backend         TEXT    NOT NULL, -- nvrtc, cuda, replay
    version         TEXT    NOT NULL,
    device          TEXT    NOT NULL, -- NVIDIA H200
    device_id       TEXT    NOT NULL, -- UUID, or the digest of a recording
    device_arch     INTEGER NOT NULL, -- compute capability times ten
    device_smem_max INTEGER NOT NULL,
    device_sms      INTEGER NOT NULL,
    deterministic   INTEGER NOT NULL CHECK (deterministic IN (0, 1)),
    seen_at         INTEGER NOT NULL, -- when such a worker last said hello
    UNIQUE (role, backend, version, device, device_id, device_arch, device_smem_max, device_sms,
            deterministic)
) STRICT;

-- A proposal of the search, at its place, from 'queued' to 'done'. Never deleted; final once done.
CREATE TABLE candidate (
    run         INTEGER NOT NULL REFERENCES run(id),
    place       INTEGER NOT NULL CHECK (place >= 0),
    family      TEXT    NOT NULL, -- '' for a source written elsewhere
    genes       TEXT    NOT NULL, -- BLOCK_M=32 BLOCK_N=64
    genome_hash TEXT    CHECK (length(genome_hash) = 64),
    island      INTEGER NOT NULL,
    operator    TEXT    NOT NULL CHECK (operator <> ''), -- founder, step, crossover, ...
    depth       INTEGER NOT NULL CHECK (depth >= 0),     -- generations from a founder
    numerics    INTEGER NOT NULL CHECK (numerics IN (0, 1)), -- accumulates in 0: FP32, 1: FP16
    bound_us    REAL    NOT NULL CHECK (bound_us >= 0),  -- sampling could stop above it; 0: none
    created_at  INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done')),
    -- From here on: known when it is done.
    source_hash TEXT    CHECK (length(source_hash) = 64), -- NULL: never rendered
    code_key    TEXT    CHECK (length(code_key) = 64),    -- NULL: never built
    plan_key    TEXT    CHECK (length(plan_key) = 64),
    verdict     TEXT    CHECK (verdict IN ('pass', 'invalid', 'no_compile', 'no_launch', 'wrong',
                                           'racy', 'out_of_bounds', 'unstable', 'unsupported',
                                           'timeout', 'crash')),
    reason      TEXT,
    replayed    INTEGER NOT NULL DEFAULT 0 CHECK (replayed IN (0, 1)),
    alias_of    INTEGER CHECK (alias_of < place), -- the lowest place with the same code and plan
    judgement   INTEGER, -- shared by all who have this code and plan
    finished_at INTEGER,
    evaluation  INTEGER, -- it was the evaluation-th of its run to finish
    PRIMARY KEY (run, place),
    CHECK ((state = 'done') = (verdict IS NOT NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL)),
    CHECK ((state = 'done') = (evaluation IS NOT NULL)),
    CHECK (verdict <> 'pass' OR judgement IS NOT NULL), -- nobody passes unjudged
    FOREIGN KEY (run, alias_of) REFERENCES candidate(run, place),
    FOREIGN KEY (judgement, verdict) REFERENCES judgement(id, verdict)
) STRICT;
CREATE UNIQUE INDEX candidate_by_evaluation ON candidate(run, evaluation)
    WHERE evaluation IS NOT NULL;
CREATE INDEX candidate_founders ON candidate(run, place) WHERE operator = 'founder';

-- Whom a candidate was bred from; ordinal 0 is the one it resembles most. Parents come first.
CREATE TABLE parent (
    run     INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    ordinal INTEGER NOT NULL CHECK (ordinal IN (0, 1)),
    parent  INTEGER NOT NULL CHECK (parent < place),
    PRIMARY KEY (run, place, ordinal),
    FOREIGN KEY (run, place)  REFERENCES candidate(run, place),
    FOREIGN KEY (run, parent) REFERENCES candidate(run, place)
) STRICT, WITHOUT ROWID;

-- How many candidates of a run have which verdict ('queued': none yet), so that a status costs the
-- same at a million candidates as at ten. Kept in the transaction that inserts or finishes them.
CREATE TABLE tally (
    run        INTEGER NOT NULL REFERENCES run(id),
    verdict    TEXT    NOT NULL,
    candidates INTEGER NOT NULL CHECK (candidates >= 0),
    aliases    INTEGER NOT NULL CHECK (aliases BETWEEN 0 AND candidates),
    PRIMARY KEY (run, verdict)
) STRICT, WITHOUT ROWID;

-- One compilation: the image-th program of a candidate. Built: it has a binary; else a verdict.
CREATE TABLE build (
    run         INTEGER NOT NULL,
    place       INTEGER NOT NULL,
    image       INTEGER NOT NULL CHECK (image >= 0),
    source_hash TEXT    NOT NULL CHECK (length(source_hash) = 64),
    arch        TEXT    NOT NULL, -- sm_90a
    verdict     TEXT    CHECK (verdict <> 'pass'),
    reason      TEXT    NOT NULL,
    log         TEXT    NOT NULL,
    warnings    TEXT    NOT NULL,
    binary      INTEGER REFERENCES binary(id),
    cached      INTEGER NOT NULL CHECK (cached IN (0, 1)),
    compile_ms  REAL    NOT NULL,
    PRIMARY KEY (run, place, image),
    FOREIGN KEY (run, place) REFERENCES candidate(run, place),
    CHECK ((verdict IS NULL) = (binary IS NOT NULL))
) STRICT;

-- Machine code, once however many candidates compile to it. The code itself is kept for the best
-- only: anyone's can be made again from genes and template.
CREATE TABLE binary (
    id       INTEGER PRIMARY KEY,
    code_key TEXT    NOT NULL UNIQUE CHECK (length(code_key) = 64),
    ptx      BLOB,
    cubin    BLOB
) STRICT;

-- What the machine code says of each of its kernels, without any GPU.
CREATE TABLE entry (
    binary            INTEGER NOT NULL REFERENCES binary(id),
    ordinal           INTEGER NOT NULL,
    name              TEXT    NOT NULL,
    registers         INTEGER NOT NULL,
    static_smem_bytes INTEGER NOT NULL,
    stack_bytes       INTEGER NOT NULL,
    spill_store_bytes INTEGER NOT NULL,
    spill_load_bytes  INTEGER NOT NULL,
    barriers          INTEGER NOT NULL,
    param_bytes       INTEGER NOT NULL,
    code_bytes        INTEGER NOT NULL,
    max_threads       INTEGER NOT NULL, -- __launch_bounds__; 0: none
    PRIMARY KEY (binary, ordinal)
) STRICT, WITHOUT ROWID;

-- A job handed to a worker: written before it is sent, closed when it is over. One left open was
-- lost with its host.
CREATE TABLE attempt (
    id       INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    role     TEXT    NOT NULL CHECK (role IN ('compile', 'judge')),
    worker   TEXT    NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome  TEXT    CHECK (outcome <> ''), -- a verdict, built, died, failed, timeout, unsent, abandoned, lost
    FOREIGN KEY (run, place) REFERENCES candidate(run, place),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX attempt_by_place ON attempt(run, place);
CREATE INDEX attempt_open ON attempt(run) WHERE ended_at IS NULL;

-- What a judge said of one program (code and launch plans) on one workload, in one environment,
-- under one version of the gate. Said once: whoever has the same key shares it.
CREATE TABLE judgement (
    id           INTEGER PRIMARY KEY,
    code_key     TEXT    NOT NULL CHECK (length(code_key) = 64),
    plan_key     TEXT    NOT NULL CHECK (length(plan_key) = 64),
    workload     TEXT    NOT NULL CHECK (length(workload) = 64),
    environment  INTEGER NOT NULL REFERENCES environment(id),
    gate_version INTEGER NOT NULL,
    run          INTEGER NOT NULL, -- it was made for this candidate
    place        INTEGER NOT NULL,
    verdict      TEXT    NOT NULL CHECK (verdict IN ('pass', 'invalid', 'no_compile', 'no_launch',
                                                     'wrong', 'racy', 'out_of_bounds', 'unstable',
                                                     'unsupported', 'timeout', 'crash')),
    reason       TEXT    NOT NULL,
    replayed     INTEGER NOT NULL CHECK (replayed IN (0, 1)), -- read from a recording
    device_ms    REAL    NOT NULL,
    UNIQUE (code_key, plan_key, workload, environment, gate_version),
    UNIQUE (id, verdict),
    FOREIGN KEY (run, place) REFERENCES candidate(run, place)
) STRICT;

-- One comparison of the gate, as evidence. NULL: not measured.
CREATE TABLE case_result (
    judgement         INTEGER NOT NULL REFERENCES judgement(id),
    ordinal           INTEGER NOT NULL,
    problem           INTEGER NOT NULL,
    rung              TEXT    NOT NULL, -- launch, sanity, correct, stable, promote, race, quick, timed
    family            TEXT    NOT NULL, -- of inputs
    seed              INTEGER NOT NULL,
    verdict           TEXT    NOT NULL,
    error_max         REAL,
    error_allowed     REAL,
    frobenius         REAL,
    frobenius_allowed REAL,
    rows_checked      INTEGER NOT NULL,
    rows_total        INTEGER NOT NULL,
    worst_batch       INTEGER NOT NULL, -- where the error is largest; -1: nowhere
    worst_head        INTEGER NOT NULL,
    worst_row         INTEGER NOT NULL,
    worst_column      INTEGER NOT NULL,
    expected          REAL,
    got               REAL,
    reason            TEXT    NOT NULL,
    PRIMARY KEY (judgement, ordinal)
) STRICT, WITHOUT ROWID;

-- How one problem was timed; stays when the samples go.
CREATE TABLE timing (
    judgement   INTEGER NOT NULL REFERENCES judgement(id),
    problem     INTEGER NOT NULL,
    quick       INTEGER NOT NULL CHECK (quick IN (0, 1)), -- stopped early: slower than its bound
    tick_us     REAL    NOT NULL, -- resolution of the clock 'span'
    span_count  INTEGER NOT NULL,
    graph_count INTEGER NOT NULL,
    graph_us    REAL, -- median of the clock 'graph'
    PRIMARY KEY (judgement, problem)
) STRICT, WITHOUT ROWID;

-- Raw times in microseconds, in the order taken: doubles, eight bytes each, little-endian.
-- Those of passed losers may be dropped after a while; their scores stay.
CREATE TABLE sample (
    judgement INTEGER NOT NULL,
    problem   INTEGER NOT NULL,
    clock     TEXT    NOT NULL CHECK (clock IN ('span', 'graph')),
    us        BLOB    NOT NULL CHECK (length(us) > 0 AND length(us) % 8 = 0),
    PRIMARY KEY (judgement, problem, clock),
    FOREIGN KEY (judgement, problem) REFERENCES timing(judgement, problem)
) STRICT;

-- What else was measured. A value that could not be read is NULL and has its reason.
CREATE TABLE metric (
    judgement INTEGER NOT NULL REFERENCES judgement(id),
    problem   INTEGER NOT NULL, -- -1: of the whole candidate
    name      TEXT    NOT NULL,
    value     REAL,
    reason    TEXT    NOT NULL,
    PRIMARY KEY (judgement, problem, name)
) STRICT, WITHOUT ROWID;

-- Samples made into one number with its 95 % interval, by the version-th definition of a score.
-- No score without a pass: the verdict is that of the judgement, and it is 'pass'.
CREATE TABLE score (
    judgement INTEGER NOT NULL,
    problem   INTEGER NOT NULL, -- -1: of the whole workload
    version   INTEGER NOT NULL,
    verdict   TEXT    NOT NULL DEFAULT 'pass' CHECK (verdict = 'pass'),
    us        REAL    NOT NULL CHECK (us > 0),
    low       REAL    NOT NULL,
    high      REAL    NOT NULL CHECK (low <= high),
    PRIMARY KEY (judgement, problem, version),
    FOREIGN KEY (judgement, verdict) REFERENCES judgement(id, verdict)
) STRICT, WITHOUT ROWID;
CREATE INDEX score_by_time ON score(version, problem, us);

-- The passed programs of each run in order of time: each judgement once, under the lowest place
-- that reached it. Derived from candidate and score, and made again when scores are.
CREATE TABLE standing (
    run       INTEGER NOT NULL REFERENCES run(id),
    judgement INTEGER NOT NULL REFERENCES judgement(id),
    place     INTEGER NOT NULL,
    family    TEXT    NOT NULL,
    numerics  INTEGER NOT NULL,
    us        REAL    NOT NULL,
    PRIMARY KEY (run, judgement)
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_by_time ON standing(run, numerics, us, place);
CREATE INDEX standing_by_family ON standing(run, numerics, family, us, place);

-- What happened to a run besides candidates: started, went on, disk full, worker lost.
CREATE TABLE event (
    id   INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL REFERENCES run(id),
    at   INTEGER NOT NULL,
    kind TEXT    NOT NULL,
    text TEXT    NOT NULL
) STRICT;
CREATE INDEX event_by_run ON event(run, id);

-- Evidence is only appended; the one exception is that samples may be dropped.
CREATE TRIGGER candidate_is_final BEFORE UPDATE ON candidate WHEN old.state = 'done'
BEGIN SELECT RAISE(ABORT, 'a candidate that is done is never changed'); END;
CREATE TRIGGER candidate_stays BEFORE DELETE ON candidate
BEGIN SELECT RAISE(ABORT, 'a candidate is never deleted'); END;
CREATE TRIGGER parent_is_final BEFORE UPDATE ON parent
BEGIN SELECT RAISE(ABORT, 'a parent is never changed'); END;
CREATE TRIGGER parent_stays BEFORE DELETE ON parent
BEGIN SELECT RAISE(ABORT, 'a parent is never deleted'); END;
CREATE TRIGGER judgement_is_final BEFORE UPDATE ON judgement
BEGIN SELECT RAISE(ABORT, 'a judgement is never changed'); END;
CREATE TRIGGER judgement_stays BEFORE DELETE ON judgement
BEGIN SELECT RAISE(ABORT, 'a judgement is never deleted'); END;
CREATE TRIGGER case_result_is_final BEFORE UPDATE ON case_result
BEGIN SELECT RAISE(ABORT, 'a case is never changed'); END;
CREATE TRIGGER sample_is_final BEFORE UPDATE ON sample
BEGIN SELECT RAISE(ABORT, 'a sample is never changed'); END;
CREATE TRIGGER metric_is_final BEFORE UPDATE ON metric
BEGIN SELECT RAISE(ABORT, 'a metric is never changed'); END;
CREATE TRIGGER score_is_final BEFORE UPDATE ON score
BEGIN SELECT RAISE(ABORT, 'a score is never changed: a new version stands beside it'); END;
CREATE TRIGGER score_stays BEFORE DELETE ON score
BEGIN SELECT RAISE(ABORT, 'a score is never deleted'); END;

-- ---- views that evo itself reads ----

-- A candidate with its parents and its newest score.
CREATE VIEW candidate_detail AS
SELECT c.run, c.place, c.family, c.genes, c.genome_hash, c.island, c.operator,
       p0.parent AS parent0, p1.parent AS parent1,
       c.depth, c.numerics, c.bound_us, c.created_at, c.state,
       c.source_hash, c.code_key, c.plan_key, c.verdict, c.reason, c.replayed, c.alias_of,
       c.judgement, c.finished_at, c.evaluation,
       s.us, s.low, s.high, j.device_ms
FROM candidate c
LEFT JOIN parent p0   ON p0.run = c.run AND p0.place = c.place AND p0.ordinal = 0
LEFT JOIN parent p1   ON p1.run = c.run AND p1.place = c.place AND p1.ordinal = 1
LEFT JOIN judgement j ON j.id = c.judgement
LEFT JOIN score s     ON s.judgement = c.judgement AND s.problem = -1
                     AND s.version = (SELECT max(version) FROM score
                                      WHERE judgement = c.judgement AND problem = -1);

-- A candidate's compilations; those of the place it is an alias of when it needed none itself.
CREATE VIEW candidate_build AS
SELECT c.run, c.place, b.place AS built_for, b.image, b.source_hash, b.arch, b.verdict, b.reason,
       b.log, b.warnings, b.binary, b.cached, b.compile_ms
FROM candidate c
JOIN build b ON b.run = c.run
            AND b.place = CASE WHEN EXISTS (SELECT 1 FROM build own
                                            WHERE own.run = c.run AND own.place = c.place)
                               THEN c.place ELSE c.alias_of END;

-- The candidate that a run's gains are counted from: the first founder that passed.
CREATE VIEW founder AS
SELECT d.*
FROM run r
JOIN candidate_detail d ON d.run = r.id
                       AND d.place = (SELECT min(f.place) FROM candidate f
                                      WHERE f.run = r.id AND f.operator = 'founder'
                                        AND f.verdict = 'pass');

-- ---- views for people ----

-- Every verified program of every run, ranked by time within its class of numerics. gain: how many
-- times faster than the first founder that passed. tflops: geometric mean over the run's problems.
CREATE VIEW leaderboard AS
SELECT t.run, t.numerics, t.rank, 'n' || t.place AS id, t.place, c.family, c.genes,
       round(s.us, 3) AS time_us, round(s.low, 3) AS low_us, round(s.high, 3) AS high_us,
       CASE WHEN r.flops > 0 THEN round(r.flops / s.us / 1e6, 3) END AS tflops,
       round((SELECT f.us FROM founder f WHERE f.run = t.run) / s.us, 3) AS gain,
       e.device, c.operator, c.island, c.evaluation
FROM (SELECT run, judgement, place,
             CASE numerics WHEN 0 THEN 'fp32' ELSE 'fp16' END AS numerics,
             row_number() OVER (PARTITION BY run, numerics ORDER BY us, place) AS rank
      FROM standing) t
JOIN run r         ON r.id = t.run
JOIN candidate c   ON c.run = t.run AND c.place = t.place
JOIN judgement j   ON j.id = t.judgement
JOIN environment e ON e.id = j.environment
JOIN score s       ON s.judgement = t.judgement AND s.problem = -1
                  AND s.version = (SELECT max(version) FROM score
                                   WHERE judgement = t.judgement AND problem = -1);

-- The fastest verified program of each run and class of numerics: rank 1 of the leaderboard.
CREATE VIEW best_kernel AS
SELECT r.id AS run, n.name AS numerics, 'n' || c.place AS id, c.place, c.family, c.genes,
       round(s.us, 3) AS time_us, round(s.low, 3) AS low_us, round(s.high, 3) AS high_us,
       CASE WHEN r.flops > 0 THEN round(r.flops / s.us / 1e6, 3) END AS tflops,
       round((SELECT f.us FROM founder f WHERE f.run = r.id) / s.us, 3) AS gain,
       e.device, c.operator, c.island, c.evaluation,
       datetime(c.finished_at / 1000, 'unixepoch') AS found_at
FROM run r
JOIN (SELECT 0 AS class, 'fp32' AS name UNION ALL SELECT 1, 'fp16') n
JOIN standing t    ON t.run = r.id
                  AND t.judgement = (SELECT judgement FROM standing
                                     WHERE run = r.id AND numerics = n.class
                                     ORDER BY us, place LIMIT 1)
JOIN candidate c   ON c.run = t.run AND c.place = t.place
JOIN judgement j   ON j.id = t.judgement
JOIN environment e ON e.id = j.environment
JOIN score s       ON s.judgement = t.judgement AND s.problem = -1
                  AND s.version = (SELECT max(version) FROM score
                                   WHERE judgement = t.judgement AND problem = -1);

-- Each candidate with itself and all its ancestors, one a row; ask for one by place (and run).
-- depth: generations from a founder. gain: how many times faster than the first parent.
-- The ancestors of a row are collected by a recursion over parents, handed on as a JSON array
-- because that is how one row becomes many in SQLite; CROSS JOIN keeps that order.
CREATE VIEW lineage AS
SELECT c.run, 'n' || c.place AS id, c.place,
       'n' || a.place AS ancestor, a.depth, a.operator,
       CASE WHEN a.parent1 IS NULL THEN 'n' || a.parent0
            ELSE 'n' || a.parent0 || ' n' || a.parent1 END AS parents,
       a.family, a.genes, a.verdict, round(a.us, 3) AS time_us,
       round((SELECT p.us FROM candidate_detail p
              WHERE p.run = a.run AND p.place = a.parent0) / a.us, 3) AS gain
FROM candidate c
CROSS JOIN json_each((WITH RECURSIVE up(place) AS (
                    SELECT c.place
                    UNION
                    SELECT q.parent FROM up JOIN parent q ON q.run = c.run AND q.place = up.place)
                SELECT json_group_array(place) FROM up)) u
CROSS JOIN candidate_detail a ON a.run = c.run AND a.place = u.value
ORDER BY c.run, c.place, a.place;
