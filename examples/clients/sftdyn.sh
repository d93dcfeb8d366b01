#!/bin/sh
# What sftdyn's users have in cron: the secret is the path, the address is the caller's.
# Prints OK or UPTODATE. Fails where the endpoint refuses.
exec curl -f -s https://updates.example.org/TheUpdateKeyOfYourHost
