#!/bin/sh
# All that a restore needs, beside the running bot: deploy/backup.sh checkout|docker|systemd FOLDER
# The media, the secret and the settings as they are now, and the SQLite database of each time for a week. Needs rsync;
# run it as root, but for the checkout's way as the bot's own user. A MEDIA_STORE elsewhere is not in it.
set -eu
umask 077  # secrets, faces, voices
way=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."

# `inside` is where the bot sees the folder that is `data` here.
case $way in
checkout)
    bot='.venv/bin/python -m bot' settings=.env
    data=${DATA_DIR:-$(sed -n 's/^DATA_DIR=//p' .env)}
    data=${data:-data}
    inside=$data
    ;;
docker)
    bot='docker compose exec -T bot python -m bot' inside=/data settings=.env
    data=$(docker volume inspect --format '{{.Mountpoint}}' talkbot_data)
    ;;
systemd)
    bot=deploy/systemd/talkbot data=/var/lib/talkbot settings=/etc/talkbot
    inside=$data
    ;;
*)
    echo "The way is checkout, docker or systemd, not $way." >&2
    exit 2
    ;;
esac

# The database first: then every photo that it names is among the media.
rm -f "$data/backup.sqlite3"
$bot backup "$inside/backup.sqlite3" >/dev/null
mv "$data/backup.sqlite3" "$folder/bot-$(date +%F-%H%M%S).sqlite3"

# What has been deleted from the media goes from their copy, too.
set -- "$settings"
for part in "$data/media" "$data/app_secret"; do
    if [ -e "$part" ]; then set -- "$@" "$part"; fi
done
rsync -a --delete "$@" "$folder/"
find "$folder" -maxdepth 1 -name 'bot-*.sqlite3' -mtime +6 -delete
