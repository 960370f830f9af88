/*
 * sbatch, salloc and srun: how many nodes are asked for, and what Slurm must not do when some of them go. Works on the
 * caller's own option table through the functions that libslurm exports for cli_filter; what a version lacks turns into
 * one clear line. Nodes are never raised without tasks: that crashes slurmctld.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank_plugin/job_note.h"
#include "spank_plugin/plugin.h"

struct option_table {
    void *options; /* slurm_opt_t of the caller */
    char *(*get)(void *options, const char *name);
    int (*set)(void *options, const char *name, const char *value, bool early);
    bool (*is_set)(void *options, const char *name);
    bool (*set_by_cli)(void *options, int letter);
    int (*process)(void *options, int letter, const char *value, bool set_by_env, bool early);
    void (*release)(void **text);
    bool (*get_next)(void *options, char **name, char **value, size_t *state);
};

struct request {
    bool in_allocation;   /* srun within an existing job */
    long nodes, tasks;    /* as asked for */
    long spares, reserve; /* nodes on top of those; of those */
    long active, total;   /* nodes */
};

static struct allocator_ends user_ends;
static bool owns_job;
static bool has_note; /* srun in a job whose spares sbatch or salloc has asked for */
static struct job_note job;
static int components; /* how often this process has come to the end of its options: more than once for a het job */

static bool load_table(struct option_table *ret_table) {
    *(void **)&ret_table->options = dlsym(RTLD_DEFAULT, "opt");
    *(void **)&ret_table->get = dlsym(RTLD_DEFAULT, "slurm_option_get");
    *(void **)&ret_table->set = dlsym(RTLD_DEFAULT, "slurm_option_set");
    *(void **)&ret_table->is_set = dlsym(RTLD_DEFAULT, "slurm_option_isset");
    *(void **)&ret_table->set_by_cli = dlsym(RTLD_DEFAULT, "slurm_option_set_by_cli");
    *(void **)&ret_table->process = dlsym(RTLD_DEFAULT, "slurm_process_option");
    *(void **)&ret_table->get_next = dlsym(RTLD_DEFAULT, "slurm_option_get_next_set");
    *(void **)&ret_table->release = dlsym(RTLD_DEFAULT, "slurm_xfree");
    return ret_table->options && ret_table->get && ret_table->set && ret_table->is_set && ret_table->set_by_cli &&
           ret_table->release;
}

static bool get_text(const struct option_table *table, const char *name, char *ret_text, size_t capacity) {
    char *value = table->get(table->options, name);
    if (value == NULL) {
        return false;
    }
    snprintf(ret_text, capacity, "%s", value);
    table->release((void **)&value);
    return true;
}

/* False: not a plain positive number (a range, or nothing). */
static bool get_number(const struct option_table *table, const char *name, long *ret_number) {
    char text[64], *end;
    if (!get_text(table, name, text, sizeof(text))) {
        return false;
    }
    errno = 0;
    *ret_number = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *ret_number > 0 && *ret_number < 1 << 24;
}

static bool is_on(const struct option_table *table, const char *name) {
    char text[64] = "";
    return get_text(table, name, text, sizeof(text)) && strcmp(text, "set") == 0;
}

static int set_number(const struct option_table *table, const char *name, long number) {
    char text[32];
    snprintf(text, sizeof(text), "%ld", number);
    return table->set(table->options, name, text, false);
}

static int refuse(const char *why) {
    slurm_error("ckptless: %s", why);
    return PLUGIN_REFUSED;
}

/* Seconds; -1: not set. Among the options that are set, for by its name or letter those of sbatch and salloc are found.
 */
static long get_wait(const struct option_table *table) {
    char *name = NULL, *value = NULL;
    size_t state = 0;
    long seconds = -1;
    while (table->get_next && table->get_next(table->options, &name, &value, &state)) {
        if (name && value && strcmp(name, "wait") == 0) {
            seconds = strtol(value, NULL, 10);
        }
        table->release((void **)&name);
        table->release((void **)&value);
    }
    return seconds;
}

/* Slurm sees no task's end before the step's: what the user wants to follow from one, the leader has to do. */
static void note_ends(const struct option_table *table) {
    char text[64] = "";
    if (table->is_set(table->options, "kill-on-bad-exit") && get_text(table, "kill-on-bad-exit", text, sizeof(text))) {
        user_ends.kill_on_bad_exit = strtol(text, NULL, 10) > 0;
    }
    long seconds = get_wait(table);
    user_ends.wait_s = seconds > 0 && seconds < 1 << 24 ? (uint32_t)seconds : 0;
}

/* A lost node or a task's exit code are ours to judge; what the user set on purpose stays. */
static void disarm(const struct option_table *table) {
    if (!table->set_by_cli(table->options, 'k')) {
        (void)table->set(table->options, "no-kill", "set", false);
    }
    if (spank_context() != S_CTX_LOCAL) {
        return;
    }
    note_ends(table);
    if (!table->is_set(table->options, "kill-on-bad-exit")) {
        (void)table->set(table->options, "kill-on-bad-exit", "0", false);
    }
    /* By its letter: sbatch's --wait has the same name. */
    if (table->process && get_wait(table) < 0) {
        (void)table->process(table->options, 'W', "0", false, false);
    }
}

static const char *plural(long count) {
    return count == 1 ? "" : "s";
}

/* -N counts active nodes wherever the user wrote it, but for `reserve` where nobody has set nodes aside yet. */
static int count_nodes(struct request *request) {
    char line[256];
    const char *job_nodes = getenv("SLURM_JOB_NUM_NODES");
    long fits = !request->in_allocation ? 0 : has_note ? job.all_nodes : job_nodes ? atol(job_nodes) : 0;
    request->active = has_note ? request->nodes : request->nodes - request->reserve;
    request->total = request->active + request->spares + request->reserve;
    if (request->active < 1) {
        snprintf(line, sizeof(line), "reserve=%ld of %ld node%s leaves none for the program", request->reserve,
                 request->nodes, plural(request->nodes));
        return refuse(line);
    }
    if (request->tasks % request->nodes != 0) {
        snprintf(line, sizeof(line), "%ld tasks cannot be spread evenly over %ld nodes, as spares need", request->tasks,
                 request->nodes);
        return refuse(line);
    }
    if (fits > 0 && fits < request->total) {
        long spare = request->total - request->active;
        snprintf(line, sizeof(line), "%ld node%s and %ld spare%s do not fit into the job's %ld node%s", request->active,
                 plural(request->active), spare, plural(spare), fits, plural(fits));
        return refuse(line);
    }
    return ESPANK_SUCCESS;
}

/* Slurm would fill the first nodes and leave the spares with a task each: a spare must hold what a node loses. */
static int add_spares(const struct option_table *table, const struct request *request) {
    long per_node = request->tasks / request->nodes;
    if (set_number(table, "nodes", request->total) != 0 ||
        set_number(table, "ntasks", per_node * request->total) != 0 ||
        (!table->is_set(table->options, "ntasks-per-node") && set_number(table, "ntasks-per-node", per_node) != 0)) {
        return refuse("the spare nodes could not be added to the request");
    }
    return ESPANK_SUCCESS;
}

/* For the batch script and the sruns of the job. */
static int leave_note(const struct request *request) {
    char text[64];
    long per_node = request->tasks / request->nodes;
    struct job_note note = { .nodes = request->active,
                             .all_nodes = request->total,
                             .tasks = per_node * request->active,
                             .all_tasks = per_node * request->total };
    return job_note_format(&note, text, sizeof(text)) && setenv(JOB_NOTE_VARIABLE, text, 1) == 0
               ? ESPANK_SUCCESS
               : refuse("the job's spares could not be noted in its environment");
}

static int check_and_add(const struct option_table *table, const struct wire_settings *settings) {
    struct request request = { .spares = (long)settings->spares, .reserve = (long)settings->reserve };
    bool srun = spank_context() == S_CTX_LOCAL;
    if (components > 1 || getenv("SLURM_HET_SIZE")) {
        return refuse("spares cannot be had in a heterogeneous job");
    }
    if (srun && is_on(table, "multi-prog")) {
        return refuse("spares cannot be had with --multi-prog");
    }
    request.in_allocation = srun && !owns_job;
    if (!table->is_set(table->options, "nodes")) {
        return refuse("spares need the number of active nodes: give -N");
    }
    if (!get_number(table, "nodes", &request.nodes)) {
        return refuse("spares need one number of nodes, not a range: give -N as one number");
    }
    if (!get_number(table, "ntasks", &request.tasks)) {
        return refuse("the number of tasks could not be read");
    }
    int rc = count_nodes(&request);
    rc = rc == ESPANK_SUCCESS ? add_spares(table, &request) : rc;
    return rc == ESPANK_SUCCESS && !srun ? leave_note(&request) : rc;
}

int allocator_post_opt(void) {
    const struct plugin_option *option = option_get();
    struct option_table table = { 0 };
    components++;
    if (!option->given) {
        return ESPANK_SUCCESS;
    }
    /* srun has one launcher, and its part of the plugin knows of one step. */
    if (spank_context() == S_CTX_LOCAL && components > 1) {
        return refuse(wire_settings_spare_nodes(&option->settings) > 0
                          ? "spares cannot be had in a heterogeneous job"
                          : "one step over several components of a job cannot be had: give --ckptless=off, or one srun "
                            "for each component");
    }
    if (!load_table(&table)) {
        return refuse("this version of Slurm does not let the plugin change a request");
    }
    /* The shell of an salloc is no step of ours. */
    if (spank_context() == S_CTX_LOCAL && is_on(&table, "interactive")) {
        return ESPANK_SUCCESS;
    }
    owns_job = spank_context() == S_CTX_LOCAL && !table.is_set(table.options, "jobid");
    disarm(&table);
    return wire_settings_spare_nodes(&option->settings) == 0 ? ESPANK_SUCCESS
                                                             : check_and_add(&table, &option->settings);
}

struct allocator_ends allocator_ends(void) {
    return user_ends;
}

bool allocator_owns_job(void) {
    return owns_job;
}

/* srun takes the job's nodes from its environment: a batch script's names the active ones. */
static void restore_nodelist(void) {
    static const char *const names[] = { "SLURM_NODELIST", "SLURM_JOB_NODELIST" };
    const char *lists = getenv(JOB_NOTE_NODELIST_VARIABLE);
    const char *all = lists ? strchr(lists, '/') : NULL;
    for (size_t i = 0; all && i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        size_t length = (size_t)(all - lists);
        if (value && strlen(value) == length && strncmp(value, lists, length) == 0) {
            (void)setenv(names[i], all + 1, 1);
        }
    }
}

void allocator_prepare(void) {
    const char *text = getenv(JOB_NOTE_VARIABLE);
    char changed[32];
    /* sbatch and salloc from within a job: its note is not their job's. */
    has_note = spank_context() == S_CTX_LOCAL && job_note_parse(text, &job);
    for (size_t i = 0; has_note && job_note_name(i); i++) {
        const char *value = getenv(job_note_name(i));
        if (value && job_note_translate(&job, job_note_name(i), value, changed, sizeof(changed))) {
            (void)setenv(job_note_name(i), changed, 1);
        }
    }
    if (has_note) {
        restore_nodelist();
    }
    /* Said: the program need not see it. */
    (void)unsetenv(JOB_NOTE_VARIABLE);
    (void)unsetenv(JOB_NOTE_NODELIST_VARIABLE);
}
