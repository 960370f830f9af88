/*
 * slurmstepd's side: in each task, after fork and before exec, with the user's rights. Takes the rendezvous out of the
 * program's environment, starts the node's helper from local task 0, and stays as the keeper.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "spank_plugin/keeper.h"
#include "spank_plugin/plugin.h"

struct task {
    spank_t spank;
    int local;
    struct helper_start start;
    struct keeper_config config;
    char output[KEEPER_PATH_BYTES - 16];
};

/* Made before the tasks are, for all of them: nobody off this node, and no other user on it, knows them beforehand. */
static char socket_tokens[KEEPER_ADDRESSES][WIRE_TOKEN_HEX];

int stepd_init(void) {
    uint8_t bytes[KEEPER_ADDRESSES][(WIRE_TOKEN_HEX - 1) / 2];
    if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != (ssize_t)sizeof(bytes)) {
        slurm_error("ckptless: no random numbers: %s", strerror(errno));
        return PLUGIN_REFUSED;
    }
    for (size_t i = 0; i < KEEPER_ADDRESSES; i++) {
        for (size_t k = 0; k < sizeof(bytes[i]); k++) {
            snprintf(socket_tokens[i] + 2 * k, 3, "%02x", bytes[i][k]);
        }
    }
    return ESPANK_SUCCESS;
}

/* Ends this task. Not by an error to Slurm, which an `optional` plugin could not give: the program would then run
 * without its keeper. This process is the task's own, slurmstepd goes on. */
static void fail(const char *line, const char *detail) __attribute__((noreturn));
static void fail(const char *line, const char *detail) {
    char text[1400];
    char host[256] = "";
    (void)gethostname(host, sizeof(host) - 1);
    int length = snprintf(text, sizeof(text), "ckptless: %.*s: %s%s%s\n", (int)strcspn(host, "."), host, line,
                          detail[0] ? ": " : "", detail);
    (void)!write(2, text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
    _exit(PLUGIN_EXIT_CODE);
}

static void set_environment(void *argument, const char *name, const char *value) {
    const struct task *task = argument;
    (void)(value ? spank_setenv(task->spank, name, value, 1) : spank_unsetenv(task->spank, name));
}

static void get_variable(spank_t spank, const char *name, char *ret_value, int capacity) {
    if (spank_getenv(spank, name, ret_value, capacity) != ESPANK_SUCCESS) {
        ret_value[0] = '\0';
    }
}

/* See PLUGIN_ENV_LIMIT. */
static void restore_limit(spank_t spank) {
    char limit[64];
    if (spank_getenv(spank, PLUGIN_ENV_TRUE_LIMIT, limit, sizeof(limit)) != ESPANK_SUCCESS) {
        return;
    }
    (void)(limit[0] ? spank_setenv(spank, PLUGIN_ENV_LIMIT, limit, 1) : spank_unsetenv(spank, PLUGIN_ENV_LIMIT));
    (void)spank_unsetenv(spank, PLUGIN_ENV_TRUE_LIMIT);
}

/* What srun has put into the environment; it is gone from there afterwards. False: there is none. */
static bool take_rendezvous(spank_t spank, struct wire_launch *launch) {
    static const char *const names[] = { PLUGIN_ENV_PORT, PLUGIN_ENV_SECRET, PLUGIN_ENV_TOKEN, PLUGIN_ENV_ENDS };
    char ends[32], port[16];
    restore_limit(spank);
    get_variable(spank, PLUGIN_ENV_PORT, port, sizeof(port));
    get_variable(spank, PLUGIN_ENV_SECRET, launch->secret, sizeof(launch->secret));
    get_variable(spank, PLUGIN_ENV_TOKEN, launch->token, sizeof(launch->token));
    get_variable(spank, PLUGIN_ENV_ENDS, ends, sizeof(ends));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)spank_unsetenv(spank, names[i]);
    }
    unsigned long number = strtoul(port, NULL, 10);
    launch->launcher_port = (uint16_t)number;
    (void)sscanf(ends, "%u:%u", &launch->kill_on_bad_exit, &launch->wait_s);
    (void)plugin_has_munge(launch->munge_socket, sizeof(launch->munge_socket));
    return number > 0 && number <= UINT16_MAX && launch->token[0] && launch->secret[0];
}

static bool fill_launch(struct task *task, struct wire_launch *launch) {
    spank_t spank = task->spank;
    const struct plugin_option *option = option_get();
    uint32_t nodes = 0, local_tasks = 0;
    if (spank_get_item(spank, S_JOB_ID, &launch->job) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_STEPID, &launch->step) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_NODEID, &launch->node) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_NNODES, &nodes) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &local_tasks) != ESPANK_SUCCESS ||
        spank_get_item(spank, S_TASK_ID, &task->local) != ESPANK_SUCCESS || task->local < 0) {
        return false;
    }
    launch->node_count = nodes;
    launch->task_count = local_tasks;
    launch->stepd_pid = (uint32_t)getppid();
    get_variable(spank, "SLURM_LAUNCH_NODE_IPADDR", launch->launcher_address, sizeof(launch->launcher_address));
    if (launch->launcher_address[0] == '\0') {
        get_variable(spank, "SLURM_SRUN_COMM_HOST", launch->launcher_address, sizeof(launch->launcher_address));
    }
    get_variable(spank, "SLURMD_NODENAME", launch->host, sizeof(launch->host));
    get_variable(spank, "MASTER_ADDR", launch->user_master_addr, sizeof(launch->user_master_addr));
    get_variable(spank, "MASTER_PORT", launch->user_master_port, sizeof(launch->user_master_port));
    if (getcwd(launch->directory, sizeof(launch->directory)) == NULL || strchr(launch->directory, '\n')) {
        snprintf(launch->directory, sizeof(launch->directory), "/");
    }
    int length = snprintf(launch->option, sizeof(launch->option), "%s", option->text);
    return length >= 0 && (size_t)length < sizeof(launch->option);
}

/* The job's environment without what would put foreign code into the helper. */
static char **helper_environment(spank_t spank) {
    char **environment = NULL;
    size_t count = 0, used = 0;
    if (spank_get_item(spank, S_JOB_ENV, &environment) != ESPANK_SUCCESS || environment == NULL) {
        return NULL;
    }
    while (environment[count]) {
        count++;
    }
    char **kept = calloc(count + 1, sizeof(*kept));
    for (size_t i = 0; kept && i < count; i++) {
        if (strncmp(environment[i], "LD_", 3) != 0) {
            kept[used] = strdup(environment[i]);
            used += kept[used] != NULL;
        }
    }
    return kept;
}

static void fill_log_path(spank_t spank, struct helper_start *start) {
    char directory[512];
    get_variable(spank, "CKPTLESS_DEBUG_DIR", directory, sizeof(directory));
    if (directory[0]) {
        snprintf(start->log_path, sizeof(start->log_path), "%s/ckptlessd.%s.log", directory, start->launch.host);
    }
}

/* proctrack/linuxproc sends Slurm's signals to every process of the tree, the others to the task only. */
static bool everyone_is_signalled(void) {
    const slurm_conf_t *conf = dlsym(RTLD_DEFAULT, "slurm_conf");
    return conf && conf->proctrack_type && strcmp(conf->proctrack_type, "proctrack/linuxproc") == 0;
}

/* Local task 0 starts the helper; all tasks say at once when that cannot work. */
static void prepare_helper(struct task *task, struct keeper_config *config) {
    int error = 0;
    if (access(task->start.path, X_OK) != 0) {
        char detail[1200];
        snprintf(detail, sizeof(detail), "%s: %s", task->start.path, strerror(errno));
        fail("the helper is missing", detail);
    }
    if (task->local != 0) {
        return;
    }
    fill_log_path(task->spank, &task->start);
    task->start.environment = helper_environment(task->spank);
    if (task->start.environment == NULL) {
        fail("no memory for the helper's environment", "");
    }
    if (helper_start(&task->start, &config->helper_pid, &error) != HELPER_START_OK) {
        fail("the helper of this node cannot be started", strerror(error));
    }
    config->start = &task->start;
}

/* More slots than a helper can have. One task of the node says so. */
static void check_ranks(const struct task *task) {
    uint32_t ranks = option_get()->settings.ranks, tasks = task->start.launch.task_count;
    char text[160];
    if (tasks <= WIRE_SLOTS_PER_NODE_MAX / ranks) {
        return;
    }
    if (task->local != 0) {
        _exit(PLUGIN_EXIT_CODE);
    }
    snprintf(text, sizeof(text), "%u tasks with ranks=%u are more than the %u ranks that a node can hold", tasks, ranks,
             WIRE_SLOTS_PER_NODE_MAX);
    fail(text, "");
}

/* What a program is told of its tasks is about ranks. The helper says all but this, which is there when it was asked
 * for. */
static void count_ranks(spank_t spank) {
    uint32_t ranks = option_get()->settings.ranks;
    char text[32];
    get_variable(spank, "SLURM_NTASKS_PER_NODE", text, sizeof(text));
    if (ranks > 1 && text[0]) {
        snprintf(text, sizeof(text), "%lu", strtoul(text, NULL, 10) * ranks);
        (void)spank_setenv(spank, "SLURM_NTASKS_PER_NODE", text, 1);
    }
}

/* In log-dir, which is the task's working directory where none is given. */
static const char *describe_output(struct task *task) {
    const struct wire_settings *settings = &option_get()->settings;
    const struct wire_launch *launch = &task->start.launch;
    if (settings->rank_output == WIRE_RANK_OUTPUT_TASK) {
        return NULL;
    }
    int length = snprintf(task->output, sizeof(task->output), "%s%sckptless-%u.%u.%s.", settings->log_dir,
                          settings->log_dir[0] ? "/" : "", launch->job, launch->step, launch->host);
    if (length < 0 || (size_t)length >= sizeof(task->output)) {
        fail("log-dir is too long for a file in it", settings->log_dir);
    }
    return task->output;
}

/* So many thousandths of the step's memory that a program with nothing is above a helper with all that it may need. */
static int memory_score(spank_t spank) {
    const uint64_t helper_mb = 64;
    uint64_t step_mb = 0;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t all_mb = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes >> 20 : 1;
    if (spank_get_item(spank, S_STEP_ALLOC_MEM, &step_mb) != ESPANK_SUCCESS || step_mb == 0 || step_mb > all_mb) {
        step_mb = all_mb;
    }
    uint64_t score = 1 + helper_mb * 1000 / (step_mb ? step_mb : 1);
    return score < 500 ? (int)score : 500;
}

static void describe_keeper(struct task *task, struct keeper_config *config) {
    config->slot = (uint32_t)task->local * option_get()->settings.ranks;
    config->stepd_pid = config->parent_pid = getppid();
    config->is_spare =
        task->start.launch.node + wire_settings_spare_nodes(&option_get()->settings) >= task->start.launch.node_count;
    config->everyone_is_signalled = everyone_is_signalled();
    config->memory_score = memory_score(task->spank);
    config->dump_ms_max = (uint32_t)option_get()->settings.grace_ms;
    config->launch_timeout_ms = (uint32_t)option_get()->settings.launch_timeout_ms;
    config->output = describe_output(task);
    config->set_environment = set_environment;
    config->argument = task;
    for (size_t i = 0; i < KEEPER_ADDRESSES; i++) {
        wire_keeper_address(socket_tokens[i], task->start.launch.node, config->addresses[i],
                            sizeof(config->addresses[i]));
    }
    snprintf(task->start.launch.keepers, sizeof(task->start.launch.keepers), "%s", config->addresses[0]);
}

int stepd_task_init(spank_t spank, int argc, char **argv) {
    uint32_t step = 0;
    if (spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS || step > SLURM_MAX_NORMAL_STEP_ID) {
        return ESPANK_SUCCESS; /* the batch script, the extern step, a shell */
    }
    struct task *task = calloc(1, sizeof(*task));
    if (task == NULL) {
        fail("out of memory", "");
    }
    task->spank = spank;
    if (!take_rendezvous(spank, &task->start.launch)) {
        free(task); /* an srun without our part in it: an ordinary step */
        return ESPANK_SUCCESS;
    }
    if (!fill_launch(task, &task->start.launch) ||
        !plugin_program_path(argc, argv, "ckptlessd", task->start.path, sizeof(task->start.path))) {
        fail("the step cannot be described to the helper", "");
    }
    check_ranks(task);
    count_ranks(spank);
    describe_keeper(task, &task->config);
    prepare_helper(task, &task->config);
    if (!keeper_group_run(&task->config, option_get()->settings.ranks)) {
        fail("the keeper cannot begin", "");
    }
    /* One of the keeper's children, about to become the program. */
    explicit_bzero(task->start.launch.secret, sizeof(task->start.launch.secret));
    free(task);
    return ESPANK_SUCCESS;
}
