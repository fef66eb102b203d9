/*
 * log -- one line for a person, on stderr: "12:04:31 fleet: judge cuda:0 died of signal 11".
 *
 * Nothing is only in the log: what matters is a row in the database. One thread.
 */
#ifndef EVO_BASE_LOG_H
#define EVO_BASE_LOG_H

void log_line(const char *module, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
