/*
 * An ordinary MPI program, which knows nothing of us: `mpi ROUNDS FILE` sums over all ranks and passes a token around
 * the ring, ROUNDS times and then until FILE is there. Rank 0 prints a line a start, and one at the end; rank ABORT (by
 * the environment) calls MPI_Abort in its first round.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int rank, size;

/* What all ranks have: the sum of their ranks, and what rank 0 has sent around. */
static void do_round(int number) {
    int sum = 0, token = number, left = (rank + size - 1) % size, right = (rank + 1) % size;
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank > 0) {
        MPI_Recv(&token, 1, MPI_INT, left, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        token += rank;
    }
    if (size > 1) {
        MPI_Send(&token, 1, MPI_INT, right, 0, MPI_COMM_WORLD);
    }
    if (rank == 0 && size > 1) {
        MPI_Recv(&token, 1, MPI_INT, left, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    if (sum != size * (size - 1) / 2 || (rank == 0 && token != number + sum)) {
        fprintf(stderr, "mpi: rank %d: round %d: sum %d, token %d\n", rank, number, sum, token);
        MPI_Abort(MPI_COMM_WORLD, 4);
    }
}

/* Who is where: "n1 n1 n2 n2". */
static void say_hosts(void) {
    char host[MPI_MAX_PROCESSOR_NAME] = "", *all = calloc((size_t)size, sizeof(host));
    int length;
    MPI_Get_processor_name(host, &length);
    MPI_Gather(host, sizeof(host), MPI_CHAR, all, sizeof(host), MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        printf("started:");
        for (int i = 0; i < size; i++) {
            printf(" %s", all + (size_t)i * sizeof(host));
        }
        printf("\n");
        fflush(stdout);
    }
    free(all);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1, more = argc > 2, number = 0;
    const char *aborts = getenv("ABORT");
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    say_hosts();
    while (number < rounds || more) {
        do_round(number++);
        if (aborts != NULL && atoi(aborts) == rank) {
            MPI_Abort(MPI_COMM_WORLD, 7);
        }
        if (argc > 2) {
            more = access(argv[2], F_OK) != 0;
            MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD); /* rank 0 decides */
            struct timespec pause = { .tv_nsec = 5000000 };
            nanosleep(&pause, NULL);
        }
    }
    if (rank == 0) {
        printf("done: %d ranks\n", size);
    }
    MPI_Finalize();
    return 0;
}
