-- Samples are told at one clock of the multiprocessors: a device at its power limit changes its own.
ALTER TABLE timing ADD COLUMN at_mhz REAL; -- that clock; NULL: spans count as they were measured

-- The clock while each span of a timing was taken: doubles in the order of the sample 'span', in MHz;
-- 0: unknown. None where no judge saw the clock.
CREATE TABLE sample_clock (
    judgement INTEGER NOT NULL,
    problem   INTEGER NOT NULL,
    mhz       BLOB    NOT NULL CHECK (length(mhz) > 0 AND length(mhz) % 8 = 0),
    PRIMARY KEY (judgement, problem),
    FOREIGN KEY (judgement, problem) REFERENCES timing(judgement, problem)
) STRICT;

-- What was scored before had no clocks: by the second definition its scores are the same.
INSERT INTO score (judgement, problem, version, us, low, high)
SELECT judgement, problem, 2, us, low, high FROM score WHERE version = 1;
