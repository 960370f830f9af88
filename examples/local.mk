# The example that people copy; installed for the demo and the tests.
examplesdir = $(pkglibdir)/examples
examples_PROGRAMS = examples/charlm/charlm
examples_charlm_charlm_SOURCES = \
	examples/charlm/charlm.c \
	examples/charlm/checkpoint.c \
	examples/charlm/checkpoint.h \
	examples/charlm/data.c \
	examples/charlm/data.h \
	examples/charlm/model.c \
	examples/charlm/model.h \
	examples/charlm/random.h \
	examples/charlm/ring.c \
	examples/charlm/ring.h
examples_charlm_charlm_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/examples/charlm
examples_charlm_charlm_LDADD = libckptless.la -lm
