dist_man_MANS += man/ckptless.7 man/libckptless.3
