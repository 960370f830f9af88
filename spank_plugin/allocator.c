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

#include "spank_plugin/plugin.h"

struct option_table {
    void *options; /* slurm_opt_t of the caller */
    char *(*get)(void *options, const char *name);
    int (*set)(void *options, const char *name, const char *value, bool early);
    bool (*is_set)(void *options, const char *name);
    bool (*set_by_cli)(void *options, int letter);
    int (*process)(void *options, int letter, const char *value, bool set_by_env, bool early);
    void (*release)(void **text);
};

struct request {
    bool in_allocation; /* srun within an existing job */
    bool nodes_by_cli, tasks_by_cli;
    long nodes, tasks, spares;
};

static bool owns_job;
static bool job_has_spares; /* sbatch or salloc has added them, and said so */
static int components; /* how often this process has come to the end of its options: more than once for a het job */

static bool load_table(struct option_table *ret_table) {
    *(void **)&ret_table->options = dlsym(RTLD_DEFAULT, "opt");
    *(void **)&ret_table->get = dlsym(RTLD_DEFAULT, "slurm_option_get");
    *(void **)&ret_table->set = dlsym(RTLD_DEFAULT, "slurm_option_set");
    *(void **)&ret_table->is_set = dlsym(RTLD_DEFAULT, "slurm_option_isset");
    *(void **)&ret_table->set_by_cli = dlsym(RTLD_DEFAULT, "slurm_option_set_by_cli");
    *(void **)&ret_table->process = dlsym(RTLD_DEFAULT, "slurm_process_option");
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

/* A lost node or a task's exit code are ours to judge; what the user set on purpose stays. */
static void disarm(const struct option_table *table) {
    if (!table->set_by_cli(table->options, 'k')) {
        (void)table->set(table->options, "no-kill", "set", false);
    }
    if (spank_context() != S_CTX_LOCAL) {
        return;
    }
    if (!table->is_set(table->options, "kill-on-bad-exit")) {
        (void)table->set(table->options, "kill-on-bad-exit", "0", false);
    }
    /* By its letter: sbatch's --wait has the same name. */
    if (table->process && !table->set_by_cli(table->options, 'W')) {
        (void)table->process(table->options, 'W', "0", false, false);
    }
}

/* Nodes and tasks with the spares on top; -N counts active nodes wherever the user wrote it. */
static int add_spares(const struct option_table *table, struct request *request) {
    char line[256];
    /* The count is the job's: active and spare, where the job was asked for with spares. */
    bool inherited = request->in_allocation && !request->nodes_by_cli && job_has_spares;
    long active = inherited ? request->nodes - request->spares : request->nodes;
    long total = active + request->spares;
    bool tasks_are_active = !inherited || request->tasks_by_cli;
    long divisor = tasks_are_active ? active : total;
    if (active < 1) {
        snprintf(line, sizeof(line), "the job has %ld nodes: none is left for the program with spares=%ld",
                 request->nodes, request->spares);
        return refuse(line);
    }
    if (request->tasks % divisor != 0) {
        snprintf(line, sizeof(line), "%ld tasks cannot be spread evenly over %ld nodes, as spares need", request->tasks,
                 divisor);
        return refuse(line);
    }
    const char *job_nodes = getenv("SLURM_JOB_NUM_NODES");
    if (request->in_allocation && !inherited && job_nodes && atol(job_nodes) > 0 && atol(job_nodes) < total) {
        snprintf(line, sizeof(line), "%ld node%s and %ld spare do not fit into the job's %ld node%s", active,
                 active == 1 ? "" : "s", request->spares, atol(job_nodes), atol(job_nodes) == 1 ? "" : "s");
        return refuse(line);
    }
    request->tasks = request->tasks / divisor * total;
    /* Slurm would fill the first nodes and leave the spares with a task each: a spare must hold what a node loses. */
    if (set_number(table, "nodes", total) != 0 || set_number(table, "ntasks", request->tasks) != 0 ||
        (!table->is_set(table->options, "ntasks-per-node") &&
         set_number(table, "ntasks-per-node", request->tasks / total) != 0)) {
        return refuse("the spare nodes could not be added to the request");
    }
    return ESPANK_SUCCESS;
}

/* An sbatch -n reaches the batch script as SLURM_NTASKS without the spares' tasks: leave a note for its sruns. */
static int leave_note(long asked, long total) {
    char text[64];
    snprintf(text, sizeof(text), "%ld:%ld", asked, total);
    return setenv(PLUGIN_ENV_TASKS, text, 1) == 0 ? ESPANK_SUCCESS : refuse("out of memory");
}

static int check_and_add(const struct option_table *table, long spares) {
    struct request request = { .spares = spares };
    bool srun = spank_context() == S_CTX_LOCAL;
    if (components > 1 || getenv("SLURM_HET_SIZE")) {
        return refuse("spares cannot be had in a heterogeneous job");
    }
    if (srun && is_on(table, "multi-prog")) {
        return refuse("spares cannot be had with --multi-prog");
    }
    request.in_allocation = srun && !owns_job;
    request.nodes_by_cli = table->set_by_cli(table->options, 'N');
    request.tasks_by_cli = table->set_by_cli(table->options, 'n');
    if (!table->is_set(table->options, "nodes")) {
        return refuse("spares need the number of active nodes: give -N");
    }
    if (!get_number(table, "nodes", &request.nodes)) {
        return refuse("spares need one number of nodes, not a range: give -N as one number");
    }
    if (!get_number(table, "ntasks", &request.tasks)) {
        return refuse("the number of tasks could not be read");
    }
    long asked = request.tasks;
    int rc = add_spares(table, &request);
    return rc == ESPANK_SUCCESS && !srun ? leave_note(asked, request.tasks) : rc;
}

int allocator_post_opt(void) {
    struct option_table table = { 0 };
    long spares = (long)option_get()->settings.spares;
    components++;
    if (!load_table(&table)) {
        return refuse("this version of Slurm does not let the plugin change a request");
    }
    /* The shell of an salloc is no step of ours. */
    if (spank_context() == S_CTX_LOCAL && is_on(&table, "interactive")) {
        return ESPANK_SUCCESS;
    }
    owns_job = spank_context() == S_CTX_LOCAL && !table.is_set(table.options, "jobid");
    disarm(&table);
    return spares == 0 ? ESPANK_SUCCESS : check_and_add(&table, spares);
}

bool allocator_owns_job(void) {
    return owns_job;
}

void allocator_prepare(void) {
    static const char *const names[] = { "SLURM_NTASKS", "SLURM_NPROCS" };
    const char *note = getenv(PLUGIN_ENV_TASKS);
    char asked[32], total[32];
    job_has_spares = note != NULL;
    if (note == NULL || sscanf(note, "%31[0-9]:%31[0-9]", asked, total) != 2) {
        return;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value && strcmp(value, asked) == 0) {
            (void)setenv(names[i], total, 1);
        }
    }
    (void)unsetenv(PLUGIN_ENV_TASKS); /* said: the program need not see it */
}
