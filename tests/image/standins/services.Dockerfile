# What the services beside ours have in common.
FROM scratch
ADD root.tar /
