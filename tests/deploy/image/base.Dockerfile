# What FROM names in the tests, where there is no registry: made of a root file system of Debian.
FROM scratch
ARG ROOTFS
ADD ${ROOTFS} /
# There is no network either: apt must do with what is installed.
RUN rm -f /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*_*
