-- Every statement that evo sends to its database. All are prepared when the database is opened.
--
-- '-- :name x' begins a statement, known to the C code as STATEMENT_X; parameters are bound by
-- name. Statements that return a candidate return candidate_detail's columns, in its order.

-- ---- rounds ----

-- :name round_begin
BEGIN IMMEDIATE

-- :name round_commit
COMMIT

-- :name round_rollback
ROLLBACK

-- A reader's round: what it reads is of one moment.
-- :name read_begin
BEGIN

-- ---- runs ----

-- :name run_insert
INSERT INTO run (name, seed_path, seed_text, device_spec, strategy, evo_version, device,
                 device_arch, device_smem_max, device_sms, boot_id, rng_seed, secret,
                 budget_evaluations, budget_wall_ms, budget_device_ms, state, ended_because,
                 created_at, elapsed_ms, device_ms)
VALUES (:name, :seed_path, :seed_text, :device_spec, :strategy, :evo_version, :device,
        :device_arch, :device_smem_max, :device_sms, :boot_id, :rng_seed, :secret,
        :budget_evaluations, :budget_wall_ms, :budget_device_ms, :state, :ended_because,
        :created_at, :elapsed_ms, :device_ms)

-- :name run_update
UPDATE run
SET budget_evaluations = :budget_evaluations, budget_wall_ms = :budget_wall_ms,
    budget_device_ms = :budget_device_ms, state = :state, ended_because = :ended_because,
    device_spec = :device_spec, device = :device, device_arch = :device_arch,
    device_smem_max = :device_smem_max, device_sms = :device_sms, boot_id = :boot_id,
    elapsed_ms = :elapsed_ms, device_ms = :device_ms, duplicates = :duplicates
WHERE id = :run

-- :run NULL: the latest.
-- :name run_get
SELECT id, name, seed_path, seed_text, device_spec, strategy, evo_version, rng_seed, secret,
       budget_evaluations, budget_wall_ms, budget_device_ms, state, ended_because, created_at,
       elapsed_ms, device_ms, device, boot_id, device_arch, device_smem_max, device_sms, duplicates
FROM run
WHERE id = coalesce(:run, (SELECT max(id) FROM run))

-- :name problem_insert
INSERT INTO problem (run, idx, text, flops) VALUES (:run, :idx, :text, :flops)

-- :name problem_list
SELECT idx, text, flops FROM problem WHERE run = :run ORDER BY idx

-- :name run_set_flops
UPDATE run SET flops = :flops WHERE id = :run

-- :name template_insert
INSERT INTO template (run, name, path, text) VALUES (:run, :name, :path, :text)

-- :name template_list
SELECT name, path, text FROM template WHERE run = :run ORDER BY name

-- :name ceiling_insert
INSERT INTO ceiling (run, name, value, per_clock) VALUES (:run, :name, :value, :per_clock)

-- :name ceiling_list
SELECT name, value, per_clock FROM ceiling WHERE run = :run ORDER BY name

-- :name judge_time_put
INSERT INTO judge_time (run, what, part_of, ms) VALUES (:run, :what, :part_of, :ms)
ON CONFLICT (run, what) DO UPDATE SET ms = :ms

-- :name judge_time_list
SELECT what, part_of, ms FROM judge_time WHERE run = :run ORDER BY ms DESC, what

-- Earlier runs that have something to teach: of the same workload first, then the latest.
-- :name lesson_sources
SELECT r.id FROM run r
WHERE r.id < :run AND EXISTS (SELECT 1 FROM standing WHERE run = r.id)
ORDER BY EXISTS (SELECT idx, text FROM problem WHERE run = r.id
                 EXCEPT SELECT idx, text FROM problem WHERE run = :run)
      OR EXISTS (SELECT idx, text FROM problem WHERE run = :run
                 EXCEPT SELECT idx, text FROM problem WHERE run = r.id), r.id DESC
LIMIT :count

-- :name lesson_gather
SELECT t.run, t.family, c.genes, t.numerics, t.us
FROM standing t JOIN candidate c ON c.run = t.run AND c.place = t.place
WHERE t.run = :run ORDER BY t.us, t.place

-- :name lesson_insert
INSERT INTO lesson (run, idx, source, family, genes, numerics, us)
VALUES (:run, (SELECT count(*) FROM lesson WHERE run = :run), :source, :family, :genes, :numerics,
        :us)

-- :name lesson_list
SELECT source, family, genes, numerics, us FROM lesson WHERE run = :run ORDER BY idx

-- :name audit_insert
INSERT INTO gene_audit (run, family, gene, state, by, pairs)
VALUES (:run, :family, :gene, :state, :by, :pairs)

-- :name duel_insert
INSERT INTO duel (judgement, problem, rival, plan, reason, graph_us, rival_graph_us, graph_speedup,
                  graph_low, graph_high, span_us, rival_span_us, span_speedup, span_low, span_high,
                  sm_clock_mhz, power_w, power_limited, device_ms, measured_at, graph, span)
VALUES (:judgement, :problem, :rival, :plan, :reason, :graph_us, :rival_graph_us, :graph_speedup,
        :graph_low, :graph_high, :span_us, :rival_span_us, :span_speedup, :span_low, :span_high,
        :sm_clock_mhz, :power_w, :power_limited, :device_ms, :measured_at, :graph, :span)

-- :name duel_list
SELECT problem, rival, plan, reason, graph_us, rival_graph_us, graph_speedup, graph_low, graph_high,
       span_us, rival_span_us, span_speedup, span_low, span_high, sm_clock_mhz, power_w,
       power_limited, device_ms, measured_at
FROM duel WHERE judgement = :judgement ORDER BY problem, rival

-- :name audit_list
SELECT family, gene, state, by, pairs FROM gene_audit WHERE run = :run ORDER BY family, gene

-- :name environment_insert
INSERT INTO environment (role, backend, version, device, device_id, device_arch, device_smem_max,
                         device_sms, deterministic, seen_at)
VALUES (:role, :backend, :version, :device, :device_id, :device_arch, :device_smem_max,
        :device_sms, :deterministic, :seen_at)
ON CONFLICT DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)
RETURNING id

-- :name event_insert
INSERT INTO event (run, at, kind, text) VALUES (:run, :at, :kind, :text)

-- The newest :count, oldest first.
-- :name event_list
SELECT at, kind, text
FROM (SELECT id, at, kind, text FROM event WHERE run = :run ORDER BY id DESC LIMIT :count)
ORDER BY id

-- What runs with other strategies reached on the same device and workload, and what this one did,
-- after as many evaluations as the shorter of the two had: the latest runs first.
-- :name run_contrast
WITH ended(id, strategy, evaluations) AS (
    SELECT r.id, r.strategy, (SELECT max(evaluation) FROM candidate WHERE run = r.id)
    FROM run r JOIN run own ON own.id = :run
    WHERE r.device = own.device AND (r.id = own.id OR r.strategy <> own.strategy)
      AND NOT EXISTS (SELECT idx, text FROM problem WHERE run = r.id
                      EXCEPT SELECT idx, text FROM problem WHERE run = own.id)
      AND NOT EXISTS (SELECT idx, text FROM problem WHERE run = own.id
                      EXCEPT SELECT idx, text FROM problem WHERE run = r.id))
SELECT o.id, o.strategy, min(o.evaluations, own.evaluations) AS budget,
       (SELECT min(us) FROM candidate_detail WHERE run = o.id AND numerics = :numerics
           AND evaluation <= min(o.evaluations, own.evaluations)) AS us,
       (SELECT min(us) FROM candidate_detail WHERE run = own.id AND numerics = :numerics
           AND evaluation <= min(o.evaluations, own.evaluations)) AS own_us
FROM ended o JOIN ended own ON own.id = :run
WHERE o.id <> own.id AND us > 0 AND own_us > 0
ORDER BY o.id DESC LIMIT :count

-- What the arms of a run reached, and after how many evaluations.
-- :name run_arms
SELECT c.operator, count(*), min(d.us)
FROM candidate c JOIN candidate_detail d ON d.run = c.run AND d.place = c.place
WHERE c.run = :run AND c.operator IN ('draw', 'climb') AND c.numerics = :numerics
  AND c.state = 'done'
GROUP BY c.operator ORDER BY c.operator DESC

-- What all but the arms had after so many.
-- :name run_but_arms
SELECT min(d.us)
FROM (SELECT place FROM candidate
      WHERE run = :run AND operator NOT IN ('draw', 'climb') AND numerics = :numerics
        AND state = 'done' ORDER BY place LIMIT :count) first
JOIN candidate_detail d ON d.run = :run AND d.place = first.place

-- ---- candidates ----

-- :name candidate_insert
INSERT INTO candidate (run, place, family, genes, genome_hash, island, operator, depth, numerics,
                       bound_us, created_at)
VALUES (:run, :place, :family, :genes, :genome_hash, :island, :operator, :depth, :numerics,
        :bound_us, :created_at)

-- :name parent_insert
INSERT INTO parent (run, place, ordinal, parent) VALUES (:run, :place, :ordinal, :parent)

-- Its evaluation is one more than those of its run that are done.
-- :name candidate_finish
UPDATE candidate
SET state = 'done', source_hash = :source_hash, code_key = :code_key, plan_key = :plan_key,
    verdict = :verdict, reason = :reason, replayed = :replayed, alias_of = :alias_of,
    judgement = :judgement, finished_at = :finished_at,
    evaluation = 1 + (SELECT coalesce(sum(candidates), 0) FROM tally
                      WHERE run = :run AND verdict <> 'queued')
WHERE run = :run AND place = :place AND state = 'queued'

-- :name candidate_count
SELECT coalesce(sum(candidates), 0) FROM tally WHERE run = :run

-- :name candidate_list
SELECT * FROM candidate_detail WHERE run = :run ORDER BY place

-- :name candidate_get
SELECT * FROM candidate_detail WHERE run = :run AND place = :place

-- :name tally_add
INSERT INTO tally (run, verdict, candidates, aliases) VALUES (:run, :verdict, 1, :alias)
ON CONFLICT DO UPDATE SET candidates = candidates + 1, aliases = aliases + excluded.aliases

-- :name tally_take
UPDATE tally SET candidates = candidates - 1 WHERE run = :run AND verdict = :verdict

-- A program that passed takes its rank; if it has one, the lowest place holds it.
-- :name standing_insert
INSERT INTO standing (run, judgement, place, family, numerics, us)
SELECT run, judgement, place, family, numerics, us
FROM candidate_detail
WHERE run = :run AND place = :place AND verdict = 'pass' AND us IS NOT NULL
ON CONFLICT DO UPDATE
SET place = excluded.place, family = excluded.family, numerics = excluded.numerics
WHERE excluded.place < place

-- :name standing_prune
DELETE FROM standing
WHERE NOT EXISTS (SELECT 1 FROM score s
                  WHERE s.judgement = standing.judgement AND s.problem = -1
                    AND s.version = :version)

-- Ranks are of one version only: a program whose samples are gone keeps its old score but no rank.
-- :name standing_rebuild
INSERT INTO standing (run, judgement, place, family, numerics, us)
SELECT c.run, c.judgement, min(c.place), c.family, c.numerics, s.us
FROM candidate c
JOIN score s ON s.judgement = c.judgement AND s.problem = -1 AND s.version = :version
WHERE c.verdict = 'pass'
  AND c.judgement NOT IN (SELECT p.searched FROM promotion p JOIN judgement j ON j.id = p.judgement
                          WHERE j.verdict <> 'pass')
GROUP BY c.run, c.judgement
ON CONFLICT DO UPDATE SET us = excluded.us

-- Who was the best steps back for who is.
-- :name standing_uncrown
UPDATE standing SET best = 0
WHERE run = :run AND best = 1
  AND numerics = (SELECT numerics FROM candidate WHERE run = :run AND place = :place)

-- :name standing_crown
UPDATE standing SET best = 1
WHERE run = :run
  AND judgement = (SELECT judgement FROM candidate WHERE run = :run AND place = :place)

-- Whoever ranks by a judgement that a promotion refuted, in whatever run, ranks no more.
-- :name standing_refute
DELETE FROM standing WHERE judgement = :searched

-- :name champion_get
SELECT d.* FROM standing t
CROSS JOIN candidate_detail d ON d.run = t.run AND d.place = t.place
WHERE t.run = :run AND t.numerics = :numerics AND t.best = 1

-- ---- builds ----

-- :name binary_insert
INSERT INTO binary (code_key) VALUES (:code_key) ON CONFLICT DO NOTHING

-- :name binary_keep
UPDATE binary SET ptx = :ptx, cubin = :cubin WHERE code_key = :code_key

-- :name entry_insert
INSERT INTO entry (binary, ordinal, name, registers, static_smem_bytes, stack_bytes,
                   spill_store_bytes, spill_load_bytes, barriers, param_bytes, code_bytes,
                   max_threads)
VALUES (:binary, :ordinal, :name, :registers, :static_smem_bytes, :stack_bytes,
        :spill_store_bytes, :spill_load_bytes, :barriers, :param_bytes, :code_bytes, :max_threads)

-- :name entry_list
SELECT name, registers, static_smem_bytes, stack_bytes, spill_store_bytes, spill_load_bytes,
       barriers, param_bytes, code_bytes, max_threads
FROM entry
WHERE binary = (SELECT id FROM binary WHERE code_key = :code_key)
ORDER BY ordinal

-- :name build_insert
INSERT INTO build (run, place, image, source_hash, arch, verdict, reason, log, warnings, binary,
                   cached, compile_ms)
VALUES (:run, :place, :image, :source_hash, :arch, :verdict, :reason, :log, :warnings,
        (SELECT id FROM binary WHERE code_key = :code_key), :cached, :compile_ms)
ON CONFLICT (run, place, image) DO NOTHING -- built again after a stop: same source, same code

-- :name build_list
SELECT b.image, b.source_hash, y.code_key, b.arch, b.log, b.warnings, b.compile_ms, y.ptx, y.cubin
FROM candidate_build b LEFT JOIN binary y ON y.id = b.binary
WHERE b.run = :run AND b.place = :place
ORDER BY b.image

-- ---- attempts ----

-- :name attempt_begin
INSERT INTO attempt (run, place, role, worker, begun_at)
VALUES (:run, :place, :role, :worker, :at)

-- :name attempt_end
UPDATE attempt SET ended_at = :at, outcome = :outcome WHERE id = :id AND ended_at IS NULL

-- :name attempt_close_open
UPDATE attempt SET ended_at = :at, outcome = :outcome WHERE run = :run AND ended_at IS NULL

-- :name attempt_count
SELECT count(*) FROM attempt WHERE run = :run AND place = :place AND outcome = :outcome

-- ---- judgements ----

-- :name judgement_insert
INSERT INTO judgement (code_key, plan_key, workload, environment, gate_version, run, place,
                       verdict, reason, replayed, device_ms)
VALUES (:code_key, :plan_key, :workload, :environment, :gate_version, :run, :place, :verdict,
        :reason, :replayed, :device_ms)

-- :name judgement_find
SELECT j.id, j.run, j.place, j.verdict, j.reason, j.replayed, j.device_ms, s.us, s.low, s.high
FROM judgement j
LEFT JOIN whole_score s ON s.judgement = j.id
WHERE j.code_key = :code_key AND j.plan_key = :plan_key AND j.workload = :workload
  AND j.environment = :environment AND j.gate_version = :gate_version

-- :name promotion_insert
INSERT INTO promotion (judgement, searched, attempt, tried, quarantine)
VALUES (:judgement, :searched, :attempt, :tried, :quarantine)

-- The second judgement of a program, by its first.
-- :name promotion_find
SELECT j.id, j.run, j.place, j.verdict, j.reason, j.replayed, j.device_ms, s.us, s.low, s.high
FROM promotion p
JOIN judgement j ON j.id = p.judgement
LEFT JOIN whole_score s ON s.judgement = j.id
WHERE p.searched = :searched

-- Whether a shape was timed below what physics allows.
-- :name judgement_floor
SELECT p.text, s.us, m.value
FROM judgement j
JOIN metric m  ON m.judgement = j.id AND m.name = :floor
JOIN score s   ON s.judgement = j.id AND s.problem = m.problem
              AND s.version = (SELECT max(version) FROM score
                               WHERE judgement = j.id AND problem = m.problem)
JOIN problem p ON p.run = j.run AND p.idx = m.problem
WHERE j.id = :judgement AND s.us < m.value
ORDER BY m.problem
LIMIT 1

-- :name case_insert
INSERT INTO case_result (judgement, ordinal, problem, rung, family, seed, verdict, error_max,
                         error_allowed, frobenius, frobenius_allowed, rows_checked, rows_total,
                         worst_batch, worst_head, worst_row, worst_column, expected, got, reason,
                         shape)
VALUES (:judgement, :ordinal, :problem, :rung, :family, :seed, :verdict, :error_max,
        :error_allowed, :frobenius, :frobenius_allowed, :rows_checked, :rows_total,
        :worst_batch, :worst_head, :worst_row, :worst_column, :expected, :got, :reason, :shape)

-- :name case_list
SELECT problem, rung, family, seed, verdict, error_max, error_allowed, frobenius,
       frobenius_allowed, rows_checked, rows_total, worst_batch, worst_head, worst_row,
       worst_column, expected, got, reason, shape
FROM case_result WHERE judgement = :judgement ORDER BY ordinal

-- :name timing_insert
INSERT INTO timing (judgement, problem, quick, tick_us, span_count, graph_count, graph_us, at_mhz)
VALUES (:judgement, :problem, :quick, :tick_us, :span_count, :graph_count, :graph_us, :at_mhz)

-- :name sample_clock_insert
INSERT INTO sample_clock (judgement, problem, mhz) VALUES (:judgement, :problem, :mhz)

-- At which clock the first of a workload was told: all later ones are told at it.
-- :name timing_clock
SELECT t.at_mhz FROM judgement j JOIN timing t ON t.judgement = j.id
WHERE j.workload = :workload AND j.environment = :environment AND j.verdict = 'pass'
  AND t.problem = :problem AND t.quick = 0 AND t.at_mhz > 0
ORDER BY j.id LIMIT 1

-- :name sample_insert
INSERT INTO sample (judgement, problem, clock, us) VALUES (:judgement, :problem, :clock, :us)

-- A worker that names a metric twice has said it once.
-- :name metric_insert
INSERT INTO metric (judgement, problem, name, value, reason)
VALUES (:judgement, :problem, :name, :value, :reason)
ON CONFLICT DO NOTHING

-- What became known later of the first judgement of a place: counters are taken in batches.
-- :name metric_insert_late
INSERT INTO metric (judgement, problem, name, value, reason)
SELECT id, :problem, :name, :value, :reason FROM judgement
WHERE run = :run AND place = :place AND verdict = 'pass' ORDER BY id DESC LIMIT 1
ON CONFLICT DO NOTHING

-- :name metric_list
SELECT problem, name, reason, value FROM metric
WHERE judgement = :judgement ORDER BY problem, name

-- :name score_insert
INSERT INTO score (judgement, problem, version, us, low, high)
VALUES (:judgement, :problem, :version, :us, :low, :high)
ON CONFLICT DO NOTHING

-- ---- scores made again, samples dropped ----

-- Those with an older score whose samples are all still there.
-- :name rescore_list
SELECT j.id FROM judgement j
WHERE j.verdict = 'pass'
  AND NOT EXISTS (SELECT 1 FROM score s
                  WHERE s.judgement = j.id AND s.problem = -1 AND s.version = :version)
  AND EXISTS (SELECT 1 FROM timing t WHERE t.judgement = j.id)
  AND NOT EXISTS (SELECT 1 FROM timing t
                  WHERE t.judgement = j.id
                    AND NOT EXISTS (SELECT 1 FROM sample m
                                    WHERE m.judgement = j.id AND m.problem = t.problem
                                      AND m.clock = 'span'))

-- :name rescore_samples
SELECT t.problem, t.tick_us, m.us, t.at_mhz, c.mhz
FROM timing t JOIN sample m USING (judgement, problem)
LEFT JOIN sample_clock c USING (judgement, problem)
WHERE t.judgement = :judgement AND m.clock = 'span'
ORDER BY t.problem

-- Passed, made for this run and used by no other, not among the best of its class, not young.
-- :name sample_thin
DELETE FROM sample
WHERE judgement IN (
    SELECT t.judgement
    FROM (SELECT DISTINCT judgement FROM sample) m
    JOIN standing t ON t.run = :run AND t.judgement = m.judgement
    WHERE t.place + :keep <= (SELECT max(place) FROM candidate WHERE run = :run)
      AND t.judgement NOT IN (SELECT judgement FROM (SELECT judgement FROM standing
                                                     WHERE run = :run AND numerics = 0
                                                     ORDER BY best DESC, us, place LIMIT :keep))
      AND t.judgement NOT IN (SELECT judgement FROM (SELECT judgement FROM standing
                                                     WHERE run = :run AND numerics = 1
                                                     ORDER BY best DESC, us, place LIMIT :keep))
      AND NOT EXISTS (SELECT 1 FROM run other JOIN standing o
                      ON o.run = other.id AND o.judgement = t.judgement
                      WHERE other.id <> :run))

-- :name sample_clock_thin
DELETE FROM sample_clock
WHERE NOT EXISTS (SELECT 1 FROM sample m
                  WHERE m.judgement = sample_clock.judgement AND m.problem = sample_clock.problem
                    AND m.clock = 'span')

-- ---- status, best, lineage ----

-- :name tally_list
SELECT verdict, candidates, aliases FROM tally WHERE run = :run

-- How many finished in how long, of the last :count.
-- :name status_rate
SELECT l.evaluation - f.evaluation, l.finished_at - f.finished_at
FROM candidate l
JOIN candidate f ON f.run = l.run AND f.evaluation = max(1, l.evaluation - :count)
WHERE l.run = :run AND l.evaluation = :finished

-- The judge of the run's best; before there is one, the last seen with the run's device.
-- :name status_device
SELECT e.device, e.backend
FROM environment e JOIN run r ON r.id = :run AND e.device = r.device
WHERE e.role = 'judge'
ORDER BY e.id = (SELECT environment FROM judgement WHERE id = :judgement) DESC, e.seen_at DESC,
         e.id DESC
LIMIT 1

-- :name founder_get
SELECT * FROM founder WHERE run = :run

-- :name best_list
SELECT d.* FROM standing t
CROSS JOIN candidate_detail d ON d.run = t.run AND d.place = t.place
WHERE t.run = :run AND t.numerics = :numerics
ORDER BY t.best DESC, t.us, t.place
LIMIT :count

-- :name best_list_family
SELECT d.* FROM standing t
CROSS JOIN candidate_detail d ON d.run = t.run AND d.place = t.place
WHERE t.run = :run AND t.numerics = :numerics AND t.family = :family
ORDER BY t.best DESC, t.us, t.place
LIMIT :count

-- :family NULL: all.
-- :name best_list_problem
SELECT d.* FROM score s
CROSS JOIN standing t ON t.run = :run AND t.judgement = s.judgement
CROSS JOIN candidate_detail d ON d.run = t.run AND d.place = t.place
WHERE s.version = (SELECT max(version) FROM score) AND s.problem = :problem
  AND t.numerics = :numerics AND (:family IS NULL OR t.family = :family)
ORDER BY s.us, t.place
LIMIT :count

-- :name kernel_problems
SELECT p.text, s.us, s.low, s.high, t.graph_us, t.quick, t.at_mhz
FROM problem p
LEFT JOIN timing t ON t.judgement = :judgement AND t.problem = p.idx
LEFT JOIN score s  ON s.judgement = :judgement AND s.problem = p.idx
                  AND s.version = (SELECT max(version) FROM score
                                   WHERE judgement = :judgement AND problem = p.idx)
WHERE p.run = :run
ORDER BY p.idx

-- :name kernel_device
SELECT e.device FROM judgement j JOIN environment e ON e.id = j.environment
WHERE j.id = :judgement

-- The promotion whose second judgement this is.
-- :name kernel_promotion
SELECT p.searched, p.tried, p.quarantine, w.us, w.low, w.high
FROM promotion p
LEFT JOIN whole_score w ON w.judgement = p.searched
WHERE p.judgement = :judgement

-- Its largest kernel, and the dynamic shared memory that only a launch knows.
-- :name kernel_resources
SELECT max(y.registers), max(y.spill_store_bytes + y.spill_load_bytes),
       coalesce(max(y.static_smem_bytes), 0)
           + coalesce((SELECT max(value) FROM metric
                       WHERE judgement = :judgement AND name = :smem_dynamic), 0)
FROM candidate_build b JOIN entry y ON y.binary = b.binary
WHERE b.run = :run AND b.place = :place

-- Oldest first: a parent's place is lower than its child's.
-- :name lineage_list
WITH RECURSIVE up(place) AS (
    VALUES (:place)
    UNION
    SELECT p.parent FROM up JOIN parent p ON p.run = :run AND p.place = up.place)
SELECT d.* FROM up CROSS JOIN candidate_detail d ON d.run = :run AND d.place = up.place
ORDER BY d.place

-- :name descent_list
WITH RECURSIVE up(place) AS (
    VALUES (:place)
    UNION ALL
    SELECT p.parent FROM up JOIN parent p ON p.run = :run AND p.place = up.place AND p.ordinal = 0
    LIMIT :count)
SELECT d.*
FROM (SELECT place FROM up
      UNION SELECT p.parent FROM up JOIN parent p ON p.run = :run AND p.place = up.place) a
CROSS JOIN candidate_detail d ON d.run = :run AND d.place = a.place
ORDER BY d.place

-- ---- the story, for views ----

-- Places that are done, a few words each, in order: what views add up as a search goes on.
-- :name story_list
SELECT c.place, c.evaluation, c.finished_at, c.created_at, c.alias_of, c.family, c.operator,
       c.island, c.numerics, c.verdict, c.source_hash IS NOT NULL, c.code_key IS NOT NULL,
       s.us, s.low, s.high, c.genes
FROM candidate c
LEFT JOIN score s  ON c.verdict = 'pass' AND s.judgement = c.judgement AND s.problem = -1
                  AND s.version = (SELECT max(version) FROM score
                                   WHERE judgement = c.judgement AND problem = -1)
WHERE c.run = :run AND c.place > :after AND c.state = 'done'
ORDER BY c.place
LIMIT :count

-- And their parents, in the same order: read beside them, for looking each up costs more than all
-- the rest.
-- :name story_parents
SELECT place, ordinal, parent FROM parent
WHERE run = :run AND place > :after
ORDER BY place, ordinal

-- What workers hold at this moment.
-- :name in_flight_list
SELECT place, role, worker, begun_at FROM attempt
WHERE run = :run AND ended_at IS NULL
ORDER BY begun_at

-- The newest reading of each metric that tells of the device's state, if one of the last thousand
-- candidates has one.
-- :name device_state
SELECT m.name, m.value
FROM metric m
WHERE m.judgement = (SELECT judgement FROM candidate
                     WHERE run = :run AND verdict = 'pass'
                       AND place > (SELECT max(place) FROM candidate WHERE run = :run) - 1000
                     ORDER BY place DESC LIMIT 1)
  AND m.name IN ('sm_clock_mhz', 'power_w', 'temperature_c', 'throttle_reasons')
  AND m.value IS NOT NULL
ORDER BY m.problem

-- The device over time: clock, power, heat and brakes of every :step-th timed candidate.
-- :name device_strip
WITH RECURSIVE at(place) AS (
    VALUES (0) UNION ALL SELECT place + :step FROM at WHERE place + :step < :end)
SELECT c.finished_at, k.value, w.value, t.value, b.value
FROM at
CROSS JOIN candidate c ON c.run = :run AND c.place = at.place
LEFT JOIN metric k ON k.judgement = c.judgement AND k.problem = 0 AND k.name = 'sm_clock_mhz'
LEFT JOIN metric w ON w.judgement = c.judgement AND w.problem = 0 AND w.name = 'power_w'
LEFT JOIN metric t ON t.judgement = c.judgement AND t.problem = 0 AND t.name = 'temperature_c'
LEFT JOIN metric b ON b.judgement = c.judgement AND b.problem = 0 AND b.name = 'throttle_reasons'
WHERE c.verdict = 'pass'
  AND (k.value IS NOT NULL OR w.value IS NOT NULL)
ORDER BY c.place
