import './style.css';
import { MapPage } from './page';

const place = document.getElementById('map');
if (place) new MapPage(place).start();
