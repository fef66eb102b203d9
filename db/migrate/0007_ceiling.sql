-- What the device of a run can do at most, as 'evo microbench' had measured it when the run began;
-- none where nobody had. sms and clock_mhz: its multiprocessors. per_clock: of one of them.
CREATE TABLE ceiling (
    run       INTEGER NOT NULL REFERENCES run(id),
    name      TEXT    NOT NULL, -- fitness/ceilings.c
    value     REAL    NOT NULL,
    per_clock REAL,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
