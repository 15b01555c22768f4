"""What damaged files, kills and full disks do to kgrec: each ends in a result or in one line."""
