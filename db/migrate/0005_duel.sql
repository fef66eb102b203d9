-- What was promoted, timed in turns with what users would otherwise call: one duel for each shape and
-- each rival that the seed names. Raw blocks are kept: doubles, little-endian, four a block in the
-- order taken (ours, the rival's, the rival's, ours), microseconds a call.
CREATE TABLE duel (
    judgement      INTEGER NOT NULL REFERENCES judgement(id), -- ours: the second judgement
    problem        INTEGER NOT NULL,
    rival          TEXT    NOT NULL CHECK (rival <> ''), -- cudnn
    plan           TEXT    NOT NULL, -- the library's version, and which of its plans was fastest
    reason         TEXT    NOT NULL, -- why there are no times; '': there are
    graph_us       REAL, -- ours, by a graph of calls: medians
    rival_graph_us REAL,
    graph_speedup  REAL, -- how many times as fast ours is, with its 95 % interval
    graph_low      REAL,
    graph_high     REAL,
    span_us        REAL, -- the same by the spans of activity records
    rival_span_us  REAL,
    span_speedup   REAL,
    span_low       REAL,
    span_high      REAL,
    sm_clock_mhz   REAL, -- under load
    power_w        REAL,
    power_limited  INTEGER NOT NULL CHECK (power_limited IN (0, 1)),
    device_ms      REAL    NOT NULL,
    measured_at    INTEGER NOT NULL,
    graph          BLOB,
    span           BLOB,
    PRIMARY KEY (judgement, problem, rival),
    CHECK ((reason = '') = (graph_speedup IS NOT NULL)),
    CHECK ((reason = '') = (graph IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Of each promoted program and shape, the rival that was hardest to beat, by the graph clock.
CREATE VIEW best_rival AS
SELECT c.run, 'n' || c.place AS id, p.text AS problem, d.rival, d.plan,
       round(d.graph_us, 3) AS time_us, round(d.rival_graph_us, 3) AS rival_us,
       round(d.graph_speedup, 4) AS speedup, round(d.graph_low, 4) AS low,
       round(d.graph_high, 4) AS high
FROM duel d
JOIN standing s  ON s.judgement = d.judgement
JOIN candidate c ON c.run = s.run AND c.place = s.place
JOIN problem p   ON p.run = c.run AND p.idx = d.problem
WHERE d.graph_speedup = (SELECT min(o.graph_speedup) FROM duel o
                         WHERE o.judgement = d.judgement AND o.problem = d.problem);
