require 'bootsnap'
Bootsnap.setup(cache_dir: 'tmp/cache', development_mode: false, load_path_cache: true, compile_cache_iseq: true,
               compile_cache_yaml: true)
require 'sinatra/base'
require 'yaml'
class App < Sinatra::Base
  set :host_authorization, { permitted_hosts: [] }
  get('/') { 'ok' }
end
run App
