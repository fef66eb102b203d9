/*
 * fault -- named places where a test may kill the process.
 *
 * FAULT("store.record.commit") dies by SIGKILL when EVO_FAULT names it: "name" at its first
 * passage, "name:7" at its seventh. EVO_FAULT_LIST=1 prints each name on stderr as it is first
 * passed, which is how the crash test learns them. Release builds compile the points out.
 */
#ifndef EVO_BASE_FAULT_H
#define EVO_BASE_FAULT_H

#ifdef EVO_FAULTS
void fault_point(const char *name);
#define FAULT(name) fault_point(name)
#else
#define FAULT(name) ((void)0)
#endif

#endif
