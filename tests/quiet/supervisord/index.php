<?php
// A page cache, as frameworks keep them: a directory of small files that are replaced.
$key = md5($_SERVER['REQUEST_URI'] . mt_rand(0, 500));
$dir = '/srv/cache/' . substr($key, 0, 2);
@mkdir($dir);
$temporary = tempnam($dir, 't');
file_put_contents($temporary, '<?php return ' . var_export(['time' => time()], true) . ';');
rename($temporary, "$dir/$key.php");
print_r(include "$dir/$key.php");
