/*
 * commands -- the entry of each command; the rows that name them are in main.c.
 */
#ifndef EVO_CLI_COMMANDS_H
#define EVO_CLI_COMMANDS_H

int cmd_bench_search(int argc, char **argv);
int cmd_best(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_emulate(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_gate(int argc, char **argv);
int cmd_genes(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_insights(int argc, char **argv);
int cmd_lineage(int argc, char **argv);
int cmd_microbench(int argc, char **argv);
int cmd_agree(int argc, char **argv);
int cmd_record(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_rescore(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_watch(int argc, char **argv);

#endif
