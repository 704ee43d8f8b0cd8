#!/bin/sh
for i in 1 2 3; do
	printf '\033[3%dmHello, %s! (%d)\033[0m\n' "$i" "$1" "$i"
	sleep 0.3
done
