-- What a run's judges did with their time. Rows that are part of nothing add up to the time of the
-- run times its judges; the others are parts of one of those.
--
--     SELECT what, round(100 * ms / sum(ms) OVER (), 1) AS percent FROM judge_time
--     WHERE run = 1 AND part_of = '' ORDER BY ms DESC
--
-- judging: first judgements; of which gate, clocks, outputs (verified after they were timed).
-- promoting: second judgements. duelling: comparisons with libraries. starting: new processes.
-- engine: answers being recorded. compilers, order, ending: no work, because nothing is built yet;
-- all in the window is decided or elsewhere; the run ends.
CREATE TABLE judge_time (
    run     INTEGER NOT NULL REFERENCES run(id),
    what    TEXT    NOT NULL,
    part_of TEXT    NOT NULL,
    ms      REAL    NOT NULL CHECK (ms >= 0),
    PRIMARY KEY (run, what)
) STRICT, WITHOUT ROWID;
