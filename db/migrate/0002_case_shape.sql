-- A slow device's gate also judges on shapes that are none of the workload's: a case names its own.
ALTER TABLE case_result ADD COLUMN shape TEXT NOT NULL DEFAULT ''; -- '': the workload's `problem`
