-- What is to be called best is judged once more first, from scratch: by a fresh process, with a
-- secret of its own, on shapes that the search never timed, for races too. One row for each time.
-- `judgement` is that second judgement, with cases, samples and scores like any other; it is what
-- the candidate goes by from then on. `searched` is the first, of which the search knew.
CREATE TABLE promotion (
    judgement  INTEGER PRIMARY KEY REFERENCES judgement(id),
    searched   INTEGER NOT NULL UNIQUE REFERENCES judgement(id) CHECK (searched <> judgement),
    attempt    INTEGER NOT NULL REFERENCES attempt(id), -- its secret was drawn by this number
    tried      INTEGER NOT NULL CHECK (tried > 0), -- candidates of its run up to and with it
    quarantine TEXT    NOT NULL -- why the first number was not believed; '': it was
) STRICT;
CREATE TRIGGER promotion_is_final BEFORE UPDATE ON promotion
BEGIN SELECT RAISE(ABORT, 'a promotion is never changed'); END;
CREATE TRIGGER promotion_stays BEFORE DELETE ON promotion
BEGIN SELECT RAISE(ABORT, 'a promotion is never deleted'); END;

-- The one of each run and class that was promoted and beaten by none since ranks first.
ALTER TABLE standing ADD COLUMN best INTEGER NOT NULL DEFAULT 0 CHECK (best IN (0, 1));
CREATE UNIQUE INDEX standing_best ON standing(run, numerics) WHERE best = 1;
DROP INDEX standing_by_time;
DROP INDEX standing_by_family;
CREATE INDEX standing_by_time ON standing(run, numerics, best DESC, us, place);
CREATE INDEX standing_by_family ON standing(run, numerics, family, best DESC, us, place);

-- The newest score of a judgement, of its whole workload.
CREATE VIEW whole_score AS
SELECT s.judgement, s.us, s.low, s.high
FROM score s
WHERE s.problem = -1 AND s.version = (SELECT max(version) FROM score
                                      WHERE judgement = s.judgement AND problem = -1);

DROP VIEW leaderboard;
DROP VIEW best_kernel;

-- Every verified program of every run, ranked by time within its class of numerics; the promoted
-- best comes first. Times of what was promoted are the second judgement's, with what the search saw
-- in searched_us. gain: how many times faster than the first founder that passed. tflops: geometric
-- mean over the run's problems.
CREATE VIEW leaderboard AS
SELECT t.run, t.numerics, t.rank, 'n' || t.place AS id, t.place, c.family, c.genes,
       round(s.us, 3) AS time_us, round(s.low, 3) AS low_us, round(s.high, 3) AS high_us,
       CASE WHEN r.flops > 0 THEN round(r.flops / s.us / 1e6, 3) END AS tflops,
       round((SELECT f.us FROM founder f WHERE f.run = t.run) / s.us, 3) AS gain,
       p.judgement IS NOT NULL AS promoted, round(w.us, 3) AS searched_us, p.tried,
       e.device, c.operator, c.island, c.evaluation
FROM (SELECT run, judgement, place,
             CASE numerics WHEN 0 THEN 'fp32' ELSE 'fp16' END AS numerics,
             row_number() OVER (PARTITION BY run, numerics ORDER BY best DESC, us, place) AS rank
      FROM standing) t
JOIN run r         ON r.id = t.run
JOIN candidate c   ON c.run = t.run AND c.place = t.place
JOIN judgement j   ON j.id = t.judgement
JOIN environment e ON e.id = j.environment
JOIN whole_score s ON s.judgement = t.judgement
LEFT JOIN promotion p   ON p.judgement = t.judgement
LEFT JOIN whole_score w ON w.judgement = p.searched;

-- The best verified program of each run and class of numerics: rank 1 of the leaderboard.
CREATE VIEW best_kernel AS
SELECT r.id AS run, n.name AS numerics, 'n' || c.place AS id, c.place, c.family, c.genes,
       round(s.us, 3) AS time_us, round(s.low, 3) AS low_us, round(s.high, 3) AS high_us,
       CASE WHEN r.flops > 0 THEN round(r.flops / s.us / 1e6, 3) END AS tflops,
       round((SELECT f.us FROM founder f WHERE f.run = r.id) / s.us, 3) AS gain,
       p.judgement IS NOT NULL AS promoted, round(w.us, 3) AS searched_us, p.tried,
       e.device, c.operator, c.island, c.evaluation,
       datetime(c.finished_at / 1000, 'unixepoch') AS found_at
FROM run r
JOIN (SELECT 0 AS class, 'fp32' AS name UNION ALL SELECT 1, 'fp16') n
JOIN standing t    ON t.run = r.id
                  AND t.judgement = (SELECT judgement FROM standing
                                     WHERE run = r.id AND numerics = n.class
                                     ORDER BY best DESC, us, place LIMIT 1)
JOIN candidate c   ON c.run = t.run AND c.place = t.place
JOIN judgement j   ON j.id = t.judgement
JOIN environment e ON e.id = j.environment
JOIN whole_score s ON s.judgement = t.judgement
LEFT JOIN promotion p   ON p.judgement = t.judgement
LEFT JOIN whole_score w ON w.judgement = p.searched;

-- Every promotion that was tried, with what it said: the number the search saw beside the second.
CREATE VIEW promotions AS
SELECT j.run, 'n' || j.place AS id, j.place, j.verdict, j.reason,
       round(s.us, 3) AS time_us, round(s.low, 3) AS low_us, round(s.high, 3) AS high_us,
       round(w.us, 3) AS searched_us, p.tried, p.quarantine, p.attempt
FROM promotion p
JOIN judgement j        ON j.id = p.judgement
LEFT JOIN whole_score s ON s.judgement = p.judgement
LEFT JOIN whole_score w ON w.judgement = p.searched;
