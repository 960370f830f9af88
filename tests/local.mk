# Tests that the build does not compile; unit tests are listed beside what they test.
EXTRA_DIST += \
	tests/tidy \
	tests/system/lib.sh \
	tests/system/t0100-lab.t

# For ./check: the names of all test programs.
print-tests:
	@echo $(TESTS)
.PHONY: print-tests
