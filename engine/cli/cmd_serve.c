/*
 * evo serve -- the page of a run, live, for browsers on this machine.
 *
 * A process of its own that opens the database read-only, in short transactions; the search does
 * not know of it. It answers GET alone, to who names the token and a host that is ours, so neither
 * another user's browser nor a page of another site gets anything. Viewers are told when something
 * happened (server-sent events) and ask for the report then; it is made once for all of them.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/util.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/page.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/text.h"
#include "generated/web_policy.h" /* web/dist/policy.txt: the page's Content-Security-Policy */

enum {
    PORT = 8737,
    HEADER_BYTES_MAX = 8 * 1024,
    IDLE_S = 20,                  /* of a connection that asks for nothing */
    VIEWERS_MAX = 128,            /* that wait for events */
    BEHIND_BYTES_MAX = 64 * 1024, /* events that a viewer has not taken: then it is let go */
    LOOK_MS = 1000,               /* between two looks at the database */
    REPORT_AGE_MS = 3000,         /* a report is made at most so often, */
    REPORT_PART = 10,             /* and takes at most this part of the server's time */
    PIECE = 10000,                /* places read at a time, while nobody is answered */
    ALIVE_S = 15,                 /* a comment, so that proxies keep an idle stream open */
    TOKEN_BYTES = 16,
};

/* When a connection has gone, libevent no longer says whose request it carried: both are kept. */
struct viewer {
    struct evhttp_request *request;
    struct evhttp_connection *connection;
};

struct server {
    struct cli *cli;
    struct event_base *base;
    struct evhttp *http;
    const char *host; /* as --host says */
    int port;
    const char *token;

    struct viewer viewers[VIEWERS_MAX];
    int viewer_count;
    int64_t seen_finished, seen_elapsed; /* when viewers were last told */
    int64_t told_at;

    struct collector *collector; /* of the latest run, and whether there is more to read */
    int64_t collected_run;
    bool behind;
    struct event *catch_up;

    struct buf report; /* the newest; how many places it is of, when, and how long it took */
    int64_t report_places, report_finished, report_at, report_ms;
};

/* Who may ask ---------------------------------------------------------------------------------- */

/* Takes as long for any wrong text of the same length. */
static bool same_secret(const char *given, const char *token)
{
    size_t length = strlen(token);
    unsigned char difference = 0;

    if (given == NULL || strlen(given) != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        difference |= (unsigned char)(given[i] ^ token[i]);
    }
    return difference == 0;
}

static bool has_token(const struct server *server, struct evhttp_request *request)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    const char *header =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");
    struct evkeyvalq parameters = {0};
    bool known = false;

    if (header != NULL && strncmp(header, "Bearer ", 7) == 0) {
        return same_secret(header + 7, server->token);
    }
    if (query != NULL && evhttp_parse_query_str(query, &parameters) == 0) {
        known = same_secret(evhttp_find_header(&parameters, "token"), server->token);
        evhttp_clear_headers(&parameters);
    }
    return known;
}

/* A name that leads here by another site's doing (DNS rebinding) is not ours. */
static bool host_is_ours(const struct server *server, struct evhttp_request *request)
{
    const char *given = evhttp_find_header(evhttp_request_get_input_headers(request), "Host");
    const char *const names[] = {"127.0.0.1", "localhost", "[::1]", server->host};
    char ours[300];

    for (size_t i = 0; given != NULL && i < sizeof names / sizeof *names; i++) {
        snprintf(ours, sizeof ours, "%s:%d", names[i], server->port);
        if (strcmp(given, ours) == 0 || (server->port == 80 && strcmp(given, names[i]) == 0)) {
            return true;
        }
    }
    return false;
}

/* Answers -------------------------------------------------------------------------------------- */

static void add_headers(struct evhttp_request *request, const char *type)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Content-Security-Policy", web_policy);
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "X-Frame-Options", "DENY");
    evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    evhttp_add_header(headers, "Cross-Origin-Resource-Policy", "same-origin");
    evhttp_add_header(headers, "Cache-Control", "no-store");
}

static void reply(struct evhttp_request *request, int code, const char *type, const char *text,
                  size_t length)
{
    struct evbuffer *body = evbuffer_new();

    evbuffer_add(body, text, length);
    add_headers(request, type);
    evhttp_send_reply(request, code, NULL, body);
    evbuffer_free(body);
}

static void refuse(struct evhttp_request *request, int code, const char *text)
{
    reply(request, code, "text/plain; charset=utf-8", text, strlen(text));
}

static void reply_json(struct evhttp_request *request, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    reply(request, HTTP_OK, "application/json", text, strlen(text));
    free(text);
    json_decref(value);
}

static bool status_now(const struct server *server, struct arena *arena, struct status_row *row,
                       struct err *err)
{
    bool found;

    return query_status(server->cli->store, arena, 0, row, &found, err) &&
           (found || err_set(err, ERR_USER, "the database holds no run"));
}

static void page_get(struct server *server, struct evhttp_request *request)
{
    struct buf page = {0};

    (void)server;
    page_live(&page);
    reply(request, HTTP_OK, "text/html; charset=utf-8", page.data, page.length);
    buf_free(&page);
}

/*
 * Reads on in the run, a piece; what is left comes when others have been answered. A database of a
 * million evaluations takes seconds to read, and the page shows until then what has been read.
 */
static bool collect(struct server *server, int64_t run, struct err *err)
{
    const struct timeval at_once = {0};

    if (server->collector == NULL || server->collected_run != run) {
        collector_free(server->collector);
        server->collector = collector_new(run);
        server->collected_run = run;
    }
    if (!collector_advance(server->collector, server->cli->store, PIECE, &server->behind, err)) {
        return false;
    }
    if (server->behind) {
        event_add(server->catch_up, &at_once);
    }
    return true;
}

static void on_catch_up(evutil_socket_t unused, short what, void *context)
{
    struct server *server = context;
    struct arena *arena = arena_new();
    struct err ignored = {0}; /* the next report tries again */
    struct status_row row;

    (void)unused;
    (void)what;
    if (status_now(server, arena, &row, &ignored) && collect(server, row.run.id, &ignored) &&
        !server->behind) {
        server->seen_finished = -1; /* viewers are told that there is more */
    }
    arena_free(arena);
}

static bool report_make(struct server *server, struct arena *arena, const struct status_row *row,
                        struct err *err)
{
    int64_t began = clock_now_ms();
    json_t *report = report_json(server->cli->store, arena, row, server->collector, err);
    char *text;

    if (report == NULL) {
        return false;
    }
    text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(7));
    buf_clear(&server->report);
    buf_puts(&server->report, text);
    free(text);
    json_decref(report);
    server->report_finished = row->finished;
    server->report_places = collector_chronicle(server->collector)->last_place;
    server->report_at = clock_now_ms();
    server->report_ms = server->report_at - began;
    return true;
}

/* Made anew when something has finished since, but not so often that it is all that is done. */
static bool report_refresh(struct server *server, struct err *err)
{
    struct arena *arena = arena_new();
    struct status_row row;
    int64_t age = clock_now_ms() - server->report_at;
    bool ok = status_now(server, arena, &row, err) && collect(server, row.run.id, err);
    bool fresh = ok && server->report.length > 0 &&
                 (age < REPORT_AGE_MS || age < REPORT_PART * server->report_ms ||
                  (row.finished == server->report_finished &&
                   server->report_places == collector_chronicle(server->collector)->last_place));

    if (ok && !fresh) {
        ok = report_make(server, arena, &row, err);
    }
    arena_free(arena);
    return ok;
}

static void report_get(struct server *server, struct evhttp_request *request)
{
    struct err err = {0};

    if (!report_refresh(server, &err)) {
        refuse(request, HTTP_INTERNAL, err.what);
        return;
    }
    reply(request, HTTP_OK, "application/json", server->report.data, server->report.length);
}

static json_t *status_json(struct arena *arena, const struct status_row *row)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:f, s:o}", "run",
                     json_text(row->run.name), "id", (json_int_t)row->run.id, "proposed",
                     (json_int_t)row->proposed, "finished", (json_int_t)row->finished, "passed",
                     (json_int_t)row->passed, "best_place", (json_int_t)row->best_place,
                     "elapsed_ms", (json_int_t)row->run.elapsed_ms, "best", json_score(&row->best),
                     "founder", json_score(&row->founder), "per_minute", progress_rate(row), "left",
                     json_text(progress_left(arena, row)));
}

static void status_get(struct server *server, struct evhttp_request *request)
{
    struct arena *arena = arena_new();
    struct status_row row;
    struct err err = {0};

    if (status_now(server, arena, &row, &err)) {
        reply_json(request, status_json(arena, &row));
    } else {
        refuse(request, HTTP_INTERNAL, err.what);
    }
    arena_free(arena);
}

/* A label's value may hold anything; what Prometheus would read wrongly is escaped. */
static void put_label(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            buf_printf(out, "\\%c", *text);
        } else {
            buf_printf(out, "%c", (unsigned char)*text < ' ' ? ' ' : *text);
        }
    }
}

static void put_metric(struct buf *out, const char *name, const char *kind, const char *help,
                       const char *run, double value)
{
    buf_printf(out, "# HELP evo_%s %s\n# TYPE evo_%s %s\nevo_%s{run=\"", name, help, name, kind,
               name);
    put_label(out, run);
    buf_printf(out, "\"} %.17g\n", value);
}

static void put_verdicts(struct buf *out, const struct status_row *row)
{
    buf_puts(out, "# HELP evo_candidates_total candidates by verdict\n"
                  "# TYPE evo_candidates_total counter\n");
    for (int i = VERDICT_NONE + 1; i < VERDICT_COUNT; i++) {
        buf_puts(out, "evo_candidates_total{run=\"");
        put_label(out, row->run.name);
        buf_printf(out, "\",verdict=\"%s\"} %lld\n", verdict_names[i],
                   (long long)row->by_verdict[i]);
    }
}

static void metrics_get(struct server *server, struct evhttp_request *request)
{
    struct arena *arena = arena_new();
    struct buf out = {0};
    struct status_row row;
    struct err err = {0};

    if (status_now(server, arena, &row, &err)) {
        const char *run = row.run.name;

        put_verdicts(&out, &row);
        put_metric(&out, "evaluations_total", "counter", "candidates with a verdict", run,
                   (double)row.finished);
        put_metric(&out, "aliases_total", "counter", "candidates equal to an earlier one", run,
                   (double)row.aliases);
        put_metric(&out, "device_seconds_total", "counter", "time the device was held", run,
                   row.run.device_ms / 1000);
        put_metric(&out, "elapsed_seconds_total", "counter", "time the search has run", run,
                   (double)row.run.elapsed_ms / 1000);
        if (row.best.us > 0) {
            put_metric(&out, "best_microseconds", "gauge", "time of the best verified kernel", run,
                       row.best.us);
            put_metric(&out, "best_gain", "gauge", "times as fast as the seed's founder", run,
                       progress_gain(&row));
        }
        reply(request, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", out.data, out.length);
    } else {
        refuse(request, HTTP_INTERNAL, err.what);
    }
    buf_free(&out);
    arena_free(arena);
}

/* Events --------------------------------------------------------------------------------------- */

static void on_viewer_gone(struct evhttp_connection *connection, void *context)
{
    struct server *server = context;

    for (int i = 0; i < server->viewer_count; i++) {
        if (server->viewers[i].connection == connection) {
            server->viewers[i] = server->viewers[--server->viewer_count];
            return;
        }
    }
}

static void send_event(struct evhttp_request *request, const char *text)
{
    struct evbuffer *chunk = evbuffer_new();

    evbuffer_add(chunk, text, strlen(text));
    evhttp_send_reply_chunk(request, chunk);
    evbuffer_free(chunk);
}

static void events_get(struct server *server, struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);

    if (server->viewer_count == VIEWERS_MAX) {
        refuse(request, HTTP_SERVUNAVAIL, "too many viewers\n");
        return;
    }
    add_headers(request, "text/event-stream");
    evhttp_connection_set_timeout(connection, ALIVE_S * 4);
    evhttp_connection_set_closecb(connection, on_viewer_gone, server);
    evhttp_send_reply_start(request, HTTP_OK, NULL);
    server->viewers[server->viewer_count++] = (struct viewer){request, connection};
    send_event(request, ": welcome\n\n");
}

/* A viewer that takes nothing is let go, and holds nobody up. */
static void tell_viewers(struct server *server, const char *text)
{
    for (int i = server->viewer_count - 1; i >= 0; i--) {
        struct viewer viewer = server->viewers[i];
        struct bufferevent *stream = evhttp_connection_get_bufferevent(viewer.connection);

        if (evbuffer_get_length(bufferevent_get_output(stream)) > BEHIND_BYTES_MAX) {
            evhttp_connection_free(viewer.connection); /* calls on_viewer_gone */
            continue;
        }
        send_event(viewer.request, text);
    }
    server->told_at = clock_now_ms();
}

static void on_look(evutil_socket_t unused, short what, void *context)
{
    struct server *server = context;
    struct arena *arena = arena_new();
    struct status_row row;
    struct err ignored; /* the database is busy, say: the next look will tell */

    (void)unused;
    (void)what;
    if (server->viewer_count > 0 && status_now(server, arena, &row, &ignored)) {
        if (row.finished != server->seen_finished || row.run.elapsed_ms != server->seen_elapsed) {
            char *text = json_dumps(status_json(arena, &row), JSON_COMPACT);

            tell_viewers(server, arena_printf(arena, "event: progress\ndata: %s\n\n", text));
            free(text);
            server->seen_finished = row.finished;
            server->seen_elapsed = row.run.elapsed_ms;
        } else if (clock_now_ms() - server->told_at > ALIVE_S * 1000) {
            tell_viewers(server, ": still here\n\n");
        }
    }
    arena_free(arena);
}

/* The server ----------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    void (*get)(struct server *server, struct evhttp_request *request);
} paths[] = {
    {"/", page_get},         {"/api/report", report_get}, {"/api/status", status_get},
    {"/events", events_get}, {"/metrics", metrics_get},
};

static void on_request(struct evhttp_request *request, void *context)
{
    struct server *server = context;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    enum evhttp_cmd_type command = evhttp_request_get_command(request);

    if (!host_is_ours(server, request)) {
        refuse(request, 403, "this host name is not served\n");
        return;
    }
    if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD) {
        refuse(request, HTTP_BADMETHOD, "GET alone\n");
        return;
    }
    if (!has_token(server, request)) {
        refuse(request, 403,
               "the token is missing or wrong: use the address that evo serve "
               "printed\n");
        return;
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (path != NULL && strcmp(path, paths[i].path) == 0) {
            paths[i].get(server, request);
            return;
        }
    }
    refuse(request, HTTP_NOTFOUND, "there is nothing here\n");
}

static void on_signal(evutil_socket_t unused, short what, void *context)
{
    (void)unused;
    (void)what;
    event_base_loopbreak(context);
}

static bool read_options(struct cli *cli, struct server *server, struct err *err)
{
    const char *host = cli_value(cli, "host");
    unsigned char secret[TOKEN_BYTES];
    int64_t port;

    server->host = host != NULL ? host : "127.0.0.1";
    server->token = cli_value(cli, "token");
    if (!cli_number(cli, "port", 0, 65535, PORT, &port, err)) {
        return false;
    }
    server->port = (int)port;
    if (server->token != NULL) {
        return strlen(server->token) >= TOKEN_BYTES ||
               err_set(err, ERR_USER, "option '--token': fewer than %d characters are guessed",
                       TOKEN_BYTES);
    }
    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret) {
        return err_sys(err, "cannot draw a token");
    }
    server->token = "";
    for (int i = 0; i < TOKEN_BYTES; i++) {
        server->token = arena_printf(cli->arena, "%s%02x", server->token, secret[i]);
    }
    return true;
}

static bool listen_at(struct server *server, struct err *err)
{
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(server->http, server->host, (uint16_t)server->port);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    if (bound == NULL) {
        err_sys(err, "cannot listen on %s:%d", server->host, server->port);
        return err_hint(err, "--port names another; 0 takes any that is free");
    }
    if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &length) == 0) {
        server->port =
            ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                : ((struct sockaddr_in *)&address)->sin_port);
    }
    return true;
}

static bool serve(struct server *server, struct err *err)
{
    const struct timeval every = {.tv_sec = LOOK_MS / 1000, .tv_usec = LOOK_MS % 1000 * 1000};
    struct event *look = event_new(server->base, -1, EV_PERSIST, on_look, server);
    struct event *ends[] = {evsignal_new(server->base, SIGINT, on_signal, server->base),
                            evsignal_new(server->base, SIGTERM, on_signal, server->base)};
    bool ok;

    server->catch_up = evtimer_new(server->base, on_catch_up, server);
    evhttp_set_max_headers_size(server->http, HEADER_BYTES_MAX);
    evhttp_set_max_body_size(server->http, 0);
    evhttp_set_timeout(server->http, IDLE_S);
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_gencb(server->http, on_request, server);
    ok = listen_at(server, err);
    if (ok) {
        printf("http://%s:%d/?token=%s\n", server->host, server->port, server->token);
        fflush(stdout);
        event_add(look, &every);
        event_active(server->catch_up, EV_TIMEOUT, 0); /* before anybody asks */
        event_add(ends[0], NULL);
        event_add(ends[1], NULL);
        event_base_dispatch(server->base);
    }
    event_free(server->catch_up);
    event_free(look);
    event_free(ends[0]);
    event_free(ends[1]);
    return ok;
}

static bool body(struct cli *cli, struct err *err)
{
    struct server *server = arena_alloc(cli->arena, sizeof *server);
    bool ok;

    server->cli = cli;
    server->seen_finished = -1;
    if (!read_options(cli, server, err) || !cli_store(cli, err)) {
        return false;
    }
    signal(SIGPIPE, SIG_IGN);
    server->base = event_base_new();
    server->http = evhttp_new(server->base);
    ok = serve(server, err);
    evhttp_free(server->http);
    event_base_free(server->base);
    buf_free(&server->report);
    collector_free(server->collector);
    return ok;
}

int cmd_serve(int argc, char **argv) { return cli_run(argc, argv, body); }
